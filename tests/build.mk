# tests/unit/LAYER/test_X.c -> $(BUILD)/tests/unit/LAYER/test_X, a cmocka binary linked with that layer and those below.
# tests/bpf/test_X.c likewise (kernel layer; needs root). tests/fuzz/fuzz_X.c -> libFuzzer target (clang).

TEST_CPPFLAGS = $(CPPFLAGS) -Itests -Itests/harness
ABOVE_base := base
ABOVE_net := net base
ABOVE_config := config base
ABOVE_telemetry := telemetry base
ABOVE_http := http telemetry config net base
ABOVE_policy := policy http config base
ABOVE_upstream := upstream policy http telemetry config net base
ABOVE_kernel := kernel config base
ABOVE_gateway := gateway kernel upstream policy http telemetry config net base
ABOVE_control := control kernel upstream policy http telemetry config net base
ABOVE_supervisor := supervisor control gateway kernel upstream policy http telemetry config net base
ABOVE_ctl := ctl kernel policy http config base

define unit_rules
$(BUILD)/tests/unit/$(1)/%: tests/unit/$(1)/%.c $(call LIBS_OF,$(ABOVE_$(1))) $(LLHTTP)
	@mkdir -p $$(@D)
	@echo "  TEST  $$<"
	@$(CC) $(TEST_CPPFLAGS) $(CFLAGS) -Wno-conversion -MMD -MP $(LDFLAGS) -o $$@ $$< -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $(LIB_LIBS) -lcmocka
UNIT_$(1) := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/$(1)/test_*.c))
.PHONY: unit-$(1)
unit-$(1): $$(UNIT_$(1))
	@tests/harness/run-cmocka $$(UNIT_$(1))
endef
$(foreach l,$(LAYERS) ctl,$(eval $(call unit_rules,$(l))))
UNIT_ALL := $(foreach l,$(LAYERS) ctl,$(UNIT_$(l)))

BPF_TESTS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/bpf/test_*.c))
$(BUILD)/tests/bpf/test_parse_captures: TEST_LIBS := -lpcap
$(BUILD)/tests/bpf/%: tests/bpf/%.c $(call LIBS_OF,$(ABOVE_kernel)) $(SKELS)
	@mkdir -p $(@D)
	@echo "  TEST  $<"
	@$(CC) $(TEST_CPPFLAGS) $(CFLAGS) -Wno-conversion -MMD -MP $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIB_LIBS) -lcmocka $(TEST_LIBS)

# Which branches of the packet parser its comparison with the kernel's verdicts has taken: clang's own count of them. The seed is fixed,
# so that it is the same each time.
COVER := $(BUILD)/cover
COVER_PERCENT := 95
$(COVER)/test_parse_compare: tests/bpf/test_parse_compare.c bpf/lib/parse.h $(call LIBS_OF,$(ABOVE_kernel)) $(SKELS)
	@mkdir -p $(@D)
	@echo "  COVER $<"
	@$(CLANG) $(TEST_CPPFLAGS) -std=c11 -g -O1 -w -fprofile-instr-generate -fcoverage-mapping -o $@ $< \
	    -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIB_LIBS) -lcmocka

# Fuzz targets: clang's libFuzzer over the sources of their layers, with ASan and UBSan; the layers are compiled once for all targets.
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_BIN := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(FUZZ_SRC))
FUZZ_LAYER_SRC := $(foreach l,upstream policy http telemetry config net base,$(call LAYER_SRC,$(l))) user/control/cluster_event.c $(addprefix $(LLHTTP_SRC)/,api.c http.c llhttp.c)
FUZZ_LIB := $(BUILD)/fuzz/liblayers.a
FUZZ_OBJ := $(patsubst %.c,$(BUILD)/fuzz/obj/%.o,$(FUZZ_LAYER_SRC))
FUZZ_CC = $(CLANG) $(TEST_CPPFLAGS) -std=c11 -g -O1 -w -DLLHTTP_STRICT_MODE=1 -fno-sanitize-recover=all $(LIB_CFLAGS) -MMD -MP
$(BUILD)/fuzz/obj/%.o: %.c $(BUILD)/.libs
	@mkdir -p $(@D)
	@$(FUZZ_CC) -fsanitize=fuzzer-no-link,address,undefined -c -o $@ $<
$(FUZZ_LIB): $(FUZZ_OBJ)
	@rm -f $@
	@$(AR) rcs $@ $^
$(FUZZ_BIN): $(BUILD)/fuzz/%: tests/fuzz/%.c $(FUZZ_LIB)
	@mkdir -p $(@D)
	@echo "  FUZZ  $<"
	@$(FUZZ_CC) -fsanitize=fuzzer,address,undefined -o $@ $< $(FUZZ_LIB) $(LIB_LIBS)

.PHONY: cover
cover: $(COVER)/test_parse_compare
	@SL_SEED=1 SL_PACKETS=100000 LLVM_PROFILE_FILE=$(COVER)/parse.raw $< >/dev/null 2>$(COVER)/parse.log || { cat $(COVER)/parse.log; exit 1; }
	@llvm-profdata merge -o $(COVER)/parse.data $(COVER)/parse.raw
	@llvm-cov export -summary-only $< -instr-profile=$(COVER)/parse.data bpf/lib/parse.h | jq -r '.data[0].totals.branches | "\(.percent) \(.covered) \(.count)"' | \
	    awk '{ printf "bpf/lib/parse.h: %d of %d branches taken, %.1f %%; at least $(COVER_PERCENT) %% asked for\n", $$2, $$3, $$1; exit $$1 < $(COVER_PERCENT) }'

.PHONY: test unit bpf-test http-test e2e fuzz fuzz-short tests-bin
tests-bin: all $(UNIT_ALL) $(BPF_TESTS)
unit: $(UNIT_ALL)
	@tests/harness/run-cmocka $(UNIT_ALL)
bpf-test: $(BPF_TESTS)
	@tests/harness/run-cmocka $(BPF_TESTS)
EXACT_SECONDS ?= 30
.PHONY: exact
exact: all
	@SLUICE_EXACT_SECONDS=$(EXACT_SECONDS) /usr/bin/python3 -m pytest -q tests/e2e/test_exactness.py
http-test: all
	@/usr/bin/python3 -m pytest -q tests/http
# everything at once: `make soak SOAK_SECONDS=600`, and again with SAN=1
SOAK_SECONDS ?= 600
.PHONY: soak
soak: all
	@SOAK_SECONDS=$(SOAK_SECONDS) SLUICED=$(CURDIR)/$(BUILD)/sluiced $(if $(SAN),SLUICE_SAN=1) \
	    /usr/bin/python3 -m pytest -q -s tests/e2e/test_soak.py
e2e: all
	@/usr/bin/python3 -m pytest -q tests/e2e
FUZZ_SECONDS ?= 600
fuzz: $(FUZZ_BIN)
	@tests/fuzz/run $(FUZZ_SECONDS) $(FUZZ_BIN)
fuzz-short:
	@$(MAKE) fuzz FUZZ_SECONDS=8
test:
	@tests/run
## make test               every kind of test, counted in the closing line (root)
## make exact              64 connections over 4 windows, half a minute and shorter: each limit to 1 % (root)
## make cover              which branches of the packet parser are tested (root)
## make soak               everything at once for SOAK_SECONDS=600 (root)
## make unit | unit-LAYER | bpf-test | http-test | e2e | fuzz     one kind
