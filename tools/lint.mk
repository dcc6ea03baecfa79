# make lint: format, clang-tidy, cppcheck, layers. Each tool reads the same lists.
LINT_C := $(shell find user tests bpf include tools -name '*.[ch]' -not -name 'vmlinux*' 2>/dev/null)
TIDY_C := $(shell find user -name '*.c' 2>/dev/null)
.PHONY: lint format tidy cppcheck layers
lint: format layers cppcheck tidy
	@echo "lint: ok"
format:
	@clang-format --dry-run -Werror $(LINT_C)
layers:
	@tools/check-layers
# memleak: cppcheck loses a pointer kept through an intrusive list; the sanitizer builds judge leaks.
cppcheck: $(SKELS)
	@cppcheck -q -j2 --std=c11 --error-exitcode=1 --enable=warning,portability,performance --inline-suppr \
	    --suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches --suppress=memleak \
	    -D_GNU_SOURCE '-DLIBBPF_OPTS(type,name,...)=struct type name' -Iinclude -Iuser user
tidy: $(SKELS)
	@printf '%s\n' $(TIDY_C) | xargs -P2 -n4 sh -c 'clang-tidy --quiet "$$@" -- -std=c11 $(filter-out -DSL_VERSION=%,$(CPPFLAGS)) -DSL_VERSION=\"lint\" $(LIB_CFLAGS) 2>/dev/null' _
## make lint               clang-format, layer check, cppcheck, clang-tidy
