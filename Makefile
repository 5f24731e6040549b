# make        builds ./sdgo
# make run    builds it and draws a picture with the built-in model
# make test   runs every test: with the race detector and the sanitizers, too,
#             and every fuzz target for a moment
# make lint   checks formatting and runs the linters
#
# make consumer runs the tests of how other modules use this one, which test does,
# too; make emulate those of instruction sets that this machine lacks
#
# make fuzz-long runs every fuzz target for FUZZ_TIME, 10m unless told otherwise
#
# make gpu      runs the tests of GPUs on Mesa's software Vulkan device; needs
#               make vulkan, and fails where the device is not there
# make vulkan   builds ggml's Vulkan plugin in lib/sdgo, where ./sdgo finds it
# make cuda     the same for CUDA; CUDA_ARCHITECTURES="86;89" for other GPUs
# make windows  cross-compiles build/windows/sdgo.exe, make arm64 the same for
#               Linux on arm64, with Debian's compilers (testdata/ports/with.sh)
# make windows-test, arm64-test  test these under Wine and qemu; FULL=1 for all
# make install  PREFIX=/usr/local: bin/sdgo, and lib/sdgo with what was built

# ggml's own CPU operators are compiled for the compiler's default target, which
# has no AVX. The kernels of csrc choose instructions at run time and don't care.
# The module leaves out ggml's AMX files, so its AMX must look absent.
ifeq ($(shell uname -m),x86_64)
NATIVE = -O3 -march=native -U__AMX_INT8__ -Wno-stringop-overflow
ifeq ($(OS),Windows_NT) # see csrc/kernels/unaligned.h, which ggml does not have
NATIVE += -Wa,-muse-unaligned-vector-move
endif
export CGO_CFLAGS   ?= $(NATIVE)
export CGO_CXXFLAGS ?= $(NATIVE)
endif

EXE = $(if $(filter Windows_NT,$(OS)),.exe)

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.6.1
CPP_SOURCES = $(wildcard csrc/*.cpp csrc/*.h csrc/*/*.cpp csrc/*/*.h cli/sdgo/*.c internal/*/*.c internal/*/*.h third_party/*.c)

PREFIX     ?= /usr/local

# GPUs that the CUDA plugin is for, as CMake writes them: "native" are those of
# this machine, "86-real" a compute capability.
CUDA_ARCHITECTURES ?= native
# A folder with newer Vulkan headers than the system's, where those are older
# than 1.4 (Debian 12).
VULKAN_HEADERS     ?=

.PHONY: sdgo run test unit race asan kernels emulate fuzz fuzz-long consumer lint vet-elsewhere bench gpu vulkan cuda windows arm64 windows-test arm64-test install clean

sdgo:
	go build -o sdgo$(EXE) ./cli/sdgo

run: sdgo
	./sdgo txt2img -p "a red apple on a yellow background" -s 1 -o out.png

test: unit race asan kernels fuzz consumer

unit:
	go test ./...

# The race detector, on everything that has goroutines.
race:
	go test -race ./cgo ./sd/... ./sampler ./cli/...

# AddressSanitizer, on the C++ core by way of its binding and the pipeline.
asan:
	CGO_CFLAGS="-O1 -g" CGO_CXXFLAGS="-O1 -g" go test -asan ./csrc/testnet ./cgo ./sd

# The C++ kernels against naive loops, plain and under the sanitizers.
kernels:
	sh csrc/test/run.sh

# Instruction sets that this machine may lack, in an emulator; ISA="avx-vnni" for
# one. It takes five minutes of a processor for each and is not part of test.
emulate:
	csrc/test/emulate.sh $(ISA)

# Every fuzz target for a moment.
fuzz:
	sh testdata/fuzz.sh $(or $(FUZZ_TIME),3s)

# The same for hours. What fails is told at the end; the inputs that made it fail
# are in testdata/fuzz beside the test, where go test runs them again.
fuzz-long:
	sh testdata/fuzz.sh $(or $(FUZZ_TIME),10m)

# Modules of others that use this one: replaced, vendored, static, with the race
# detector; and the packages that need no C compiler. It takes what unit and race
# have built.
consumer:
	go test -timeout 30m ./testdata/consumer

# What needs no C compiler, on systems that this one is not.
PURE = ./job ./sampler ./convert/... ./sd/request ./sd/tensor ./sd/prompt ./sd/tokenizer ./sd/picture ./sd/pngtext ./cli/output ./cli/report ./csrc/fault/... ./internal/...
vet-elsewhere:
	for system in darwin/arm64 windows/amd64 linux/arm64; do \
		CGO_ENABLED=0 GOOS=$${system%/*} GOARCH=$${system#*/} go vet $(PURE) || exit 1; \
	done

lint: vet-elsewhere
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -d $$(git ls-files '*.go'); exit 1; }
	go vet ./... ./testdata/consumer ./testdata/consumer/program
	go run $(STATICCHECK) ./... ./testdata/consumer ./testdata/consumer/program
	clang-format --dry-run -Werror $(CPP_SOURCES)

# Without TEST_DEVICE, one that `sdgo devices` lists, on Vulkan in software: ggml
# shows such a device only to those who ask for it, and its compiler takes
# minutes for shaders that compute in float16. Without threads of its own it runs
# workgroups in order, on which ggml's products with few rows depend there
# (docs/gpu.md, "Agreement").
# Its compiler takes ten times as long for vectors of 512 bits as for 256.
SOFTWARE = $(if $(TEST_DEVICE),,LP_NATIVE_VECTOR_WIDTH=256 GGML_VK_VISIBLE_DEVICES=0 GGML_VK_DISABLE_F16=1 LP_NUM_THREADS=0)
gpu:
	$(SOFTWARE) SDGO_BACKEND_PATH="$(CURDIR)/lib/sdgo" SDGO_TEST_DEVICE=$(or $(TEST_DEVICE),vulkan0) \
		go test -count=1 -timeout 20m -run OnDevice ./sd ./builtin ./cli

bench:
	go test -run '^$$' -bench . -benchmem ./...

# Ninja, where there is one, runs a job a processor; make is told to.
GENERATOR = $(if $(shell command -v ninja),-G Ninja)

vulkan:
	cmake -S . -B build/vulkan $(GENERATOR) -DSDGO_VULKAN=ON -DVULKAN_HEADERS="$(VULKAN_HEADERS)"
	cmake --build build/vulkan --target vulkan --parallel

cuda:
	cmake -S . -B build/cuda $(GENERATOR) -DSDGO_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES="$(CUDA_ARCHITECTURES)"
	cmake --build build/cuda --target cuda --parallel

windows:
	sh testdata/ports/with.sh windows go build -o build/windows/sdgo.exe ./cli/sdgo

arm64:
	sh testdata/ports/with.sh arm64 go build -o build/arm64/sdgo ./cli/sdgo

windows-test: sdgo
	sh testdata/ports/run.sh windows

arm64-test: sdgo
	sh testdata/ports/run.sh arm64

install: sdgo
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 sdgo$(EXE) $(DESTDIR)$(PREFIX)/bin/sdgo$(EXE)
	if [ -d lib/sdgo ]; then install -d $(DESTDIR)$(PREFIX)/lib/sdgo && install -m 755 lib/sdgo/*.so $(DESTDIR)$(PREFIX)/lib/sdgo; fi

clean:
	rm -rf sdgo sdgo.exe build lib out.png
