# Libraries by pkg-config name; tools/check-libs reads this list and names the packages of what is missing.
#        pkg-config      Debian            Fedora
LIB_TABLE := \
         libbpf:         libbpf-dev        libbpf-devel        \
         libelf:         libelf-dev        elfutils-libelf-devel \
         zlib:           zlib1g-dev        zlib-devel          \
         openssl:        libssl-dev        openssl-devel       \
         jansson:        libjansson-dev    jansson-devel       \
         yaml-0.1:       libyaml-dev       libyaml-devel       \
         libseccomp:     libseccomp-dev    libseccomp-devel    \
         libxcrypt:      libcrypt-dev      libxcrypt-devel     \
         libxxhash:      libxxhash-dev     xxhash-devel        \
         libpcre2-8:     libpcre2-dev      pcre2-devel         \
         libcares:       libc-ares-dev     c-ares-devel        \
         libnghttp2:     libnghttp2-dev    libnghttp2-devel    \
         hiredis:        libhiredis-dev    hiredis-devel       \
         ldap:           libldap-dev       openldap-devel      \
         lber:           libldap-dev       openldap-devel
LIB_PC := $(patsubst %:,%,$(filter %:,$(LIB_TABLE)))
LIB_CFLAGS = $(shell pkg-config --cflags $(LIB_PC) 2>/dev/null)
# libev has no pkg-config file
LIB_LIBS = $(shell pkg-config --libs $(LIB_PC) 2>/dev/null) -lev -lm
