# Kernel programs: bpf/X.bpf.c -> $(BUILD)/gen/X.skel.h. Types come from the running kernel's BTF; without it, from
# bpf/lib/vmlinux_min.h, which declares just what the programs read. That is UAPI only, so no access needs CO-RE, and
# BPF_NO_PRESERVE_ACCESS_INDEX keeps relocations out that a kernel without BTF could not resolve.
# tests/bpf/X.bpf.c -> $(BUILD)/gen/X.skel.h likewise: programs that only tests load.

BPF_ARCH := $(shell uname -m | sed 's/x86_64/x86/; s/aarch64/arm64/; s/ppc64le/powerpc/')
BTF ?= /sys/kernel/btf/vmlinux
BPF_CFLAGS := -target bpf -mcpu=v3 -O2 -g -D__bpf__ -D__TARGET_ARCH_$(BPF_ARCH) -Wall -Wextra -Wshadow -Werror \
              -Wno-unused-parameter -Wno-missing-declarations -DBPF_NO_PRESERVE_ACCESS_INDEX -Iinclude -Ibpf -I$(BUILD)/gen

$(BUILD)/gen/vmlinux.h: $(BUILD)/.libs bpf/lib/vmlinux_min.h
	@mkdir -p $(@D)
	@if [ -r $(BTF) ]; then $(BPFTOOL) btf dump file $(BTF) format c > $@; \
	 else echo "  no $(BTF): using bpf/lib/vmlinux_min.h" >&2; cp bpf/lib/vmlinux_min.h $@; fi

$(BUILD)/bpf/%.bpf.o: bpf/%.bpf.c $(BUILD)/gen/vmlinux.h $(wildcard bpf/lib/*.h) $(wildcard include/sluice/*.h)
	@mkdir -p $(@D)
	@echo "  BPF   $<"
	@$(CLANG) $(BPF_CFLAGS) -c -o $@ $<

$(BUILD)/bpf/%.bpf.o: tests/bpf/%.bpf.c $(BUILD)/gen/vmlinux.h $(wildcard bpf/lib/*.h) $(wildcard include/sluice/*.h)
	@mkdir -p $(@D)
	@echo "  BPF   $<"
	@$(CLANG) $(BPF_CFLAGS) -c -o $@ $<

BPF_TEST_SKELS := $(patsubst tests/bpf/%.bpf.c,$(BUILD)/gen/%.skel.h,$(wildcard tests/bpf/*.bpf.c))
$(patsubst tests/bpf/%.c,$(BUILD)/tests/bpf/%,$(wildcard tests/bpf/test_*.c)): $(BPF_TEST_SKELS)

.PRECIOUS: $(BUILD)/bpf/%.bpf.o
$(BUILD)/gen/%.skel.h: $(BUILD)/bpf/%.bpf.o
	@mkdir -p $(@D)
	@$(BPFTOOL) gen skeleton $< name $* > $@
