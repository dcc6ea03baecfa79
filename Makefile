# Sluice. `make` builds build/sluiced and build/sluicectl; `make help` lists the rest.
# BUILD names the output directory, SAN=1 builds with ASan and UBSan (into build-san unless BUILD says else).

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all
MAKEFLAGS += --no-builtin-rules

comma := ,
SAN ?=
BUILD ?= $(if $(SAN),build-san,build)
CC = gcc
CLANG ?= clang
BPFTOOL ?= $(or $(shell command -v bpftool 2>/dev/null),/usr/sbin/bpftool)
PREFIX ?= /usr/local
DESTDIR ?=
VERSION := 0.1.0

LAYERS := base net config telemetry http policy upstream kernel gateway control supervisor
include tools/libs.mk

WARN := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Werror
OPT ?= -O2 -g
SANFLAGS := $(if $(SAN),-fsanitize=address$(comma)undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
CPPFLAGS := -D_GNU_SOURCE -DSL_VERSION='"$(VERSION)"' -Iinclude -Iuser -I$(BUILD)/gen -isystem /usr/share/include/llhttp
CFLAGS := -std=c11 $(OPT) $(WARN) $(SANFLAGS) -fno-strict-aliasing -fstack-protector-strong -fPIE $(LIB_CFLAGS)
LDFLAGS := -pie -Wl,-z,relro,-z,now $(SANFLAGS)

# ---- what there is, found by wildcard: a new file needs no line here
LAYER_SRC = $(wildcard user/$(1)/*.c)
LAYER_OBJ = $(patsubst %.c,$(BUILD)/%.o,$(call LAYER_SRC,$(1)))
LAYER_LIB = $(BUILD)/lib/lib$(1).a
LIBS_OF = $(foreach l,$(1),$(call LAYER_LIB,$(l)))
SKELS := $(patsubst bpf/%.bpf.c,$(BUILD)/gen/%.skel.h,$(wildcard bpf/*.bpf.c))
LLHTTP := $(BUILD)/lib/libllhttp.a

.PHONY: all
all: $(BUILD)/sluiced $(BUILD)/sluicectl

# Every missing library is named before anything is compiled.
$(BUILD)/.libs: tools/check-libs tools/libs.mk
	@mkdir -p $(BUILD)
	@tools/check-libs
	@touch $@

define layer_rules
$(call LAYER_LIB,$(1)): $(call LAYER_OBJ,$(1))
	@mkdir -p $$(@D)
	@rm -f $$@
	@$(AR) rcs $$@ $$^
endef
$(foreach l,$(LAYERS) ctl,$(eval $(call layer_rules,$(l))))

$(BUILD)/user/%.o: user/%.c $(BUILD)/.libs
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# kernel/ is the only user of the skeletons
$(call LAYER_OBJ,kernel): $(SKELS)

# llhttp: Debian ships the generated C in node-llhttp; strict mode is a compile-time switch of it.
LLHTTP_SRC := /usr/share/llhttp
$(LLHTTP): $(BUILD)/.libs
	@mkdir -p $(BUILD)/llhttp $(@D)
	@for f in api http llhttp; do $(CC) -O2 -fPIE $(SANFLAGS) -DLLHTTP_STRICT_MODE=1 -I/usr/share/include/llhttp \
	    -c -o $(BUILD)/llhttp/$$f.o $(LLHTTP_SRC)/$$f.c; done
	@rm -f $@ && $(AR) rcs $@ $(BUILD)/llhttp/*.o

DAEMON_LIBS := supervisor control gateway kernel upstream policy http telemetry config net base
CTL_LIBS := ctl kernel policy http config base
$(BUILD)/sluiced: $(BUILD)/user/main.o $(call LIBS_OF,$(DAEMON_LIBS)) $(LLHTTP)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIB_LIBS)
$(BUILD)/sluicectl: $(call LIBS_OF,$(CTL_LIBS)) $(LLHTTP)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS) -o $@ -Wl,--whole-archive $(call LAYER_LIB,ctl) -Wl,--no-whole-archive \
	    -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIB_LIBS)

# ---- kernel programs
include bpf/build.mk

# ---- tests, lint, bench, packaging
include tests/build.mk
include tools/lint.mk
include tools/install.mk

.PHONY: bench demo schema clean help
schema: $(BUILD)/sluicectl
	$(BUILD)/sluicectl schema >policies/schema.json
bench: all $(BUILD)/bench/first
	tools/bench/run $(ROWS)
$(BUILD)/bench/first: tools/bench/first.c $(call LIBS_OF,policy http telemetry config net base) $(LLHTTP)
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIB_LIBS)
demo: all
	tools/demo
clean:
	rm -rf build build-san
help:
	@grep -hE '^## ' Makefile tests/build.mk tools/*.mk bpf/build.mk | sed 's/^## //'
## make                    build/sluiced and build/sluicectl
## make schema            policies/schema.json from the table that checks policies
## make demo               two namespaces, a gateway, an abuser: watch it (root)
## make bench ROWS=http    measure against nginx and HAProxy (root)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
