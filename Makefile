# make        builds ./sdgo
# make run    builds it and draws a picture with the built-in model
# make test   runs every test, also with the race detector and the sanitizers
# make lint   checks formatting and runs the linters
#
# make consumer tests how other modules use this one; part of make test
# make emulate  tests instruction sets that this machine lacks
#
# make page-test  tests the page of sdgo serve in Chromium, if Node and Chromium are
#               there; make page-pictures draws its pictures in docs anew
# make clients  runs clients of PyPI, npm and Go against sdgo serve; it needs Python,
#               Node and the network
# make fuzz   runs every fuzz target for a few seconds, make fuzz-long for 10 minutes
#             or FUZZ_TIME. Both are random, and so not part of make test, which
#             runs the targets' seeds and the inputs that once failed
# make mutations opens 10,000 damaged model files of each format, with the race
#             detector and with AddressSanitizer; a small part of them is in make test
#
# make gpu      runs the tests of GPUs on Mesa's software Vulkan device; needs
#               make vulkan, and fails if the device is missing
# make vulkan   builds ggml's Vulkan plugin in lib/sdgo, where ./sdgo finds it
# make cuda     builds the CUDA plugin; CUDA_ARCHITECTURES="86;89" for other GPUs
# make windows  cross-compiles build/windows/sdgo.exe, make arm64 one for Linux
#               on arm64, with Debian's compilers (testdata/ports/with.sh)
# make windows-test, arm64-test  test these under Wine and qemu; FULL=1 for all
# make install  installs bin/sdgo, and the plugins in lib/sdgo, in PREFIX=/usr/local

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

.PHONY: sdgo run test unit race asan kernels emulate fuzz fuzz-long mutations consumer clients page-test page-pictures lint vet-elsewhere bench gpu vulkan cuda windows arm64 windows-test arm64-test install clean

sdgo:
	go build -o sdgo$(EXE) ./cli/sdgo

run: sdgo
	./sdgo txt2img -p "a red apple on a yellow background" -s 1 -o out.png

test: unit race asan kernels consumer

unit:
	go test -timeout 30m ./...

# The race detector, for all packages with goroutines. Packages of Go's library that
# share nothing with their callers are compiled without it, which is a third faster.
PURE_STD = regexp regexp/syntax strconv hash/crc32 unicode unicode/utf8 math internal/chacha8rand
race:
	go test -timeout 60m -race $(PURE_STD:%=-gcflags=%=-race=false) ./cgo ./sd/... ./cli/...
	go test -timeout 30m -race $(PURE_STD:%=-gcflags=%=-race=false) -short ./server/... ./hub/...

# AddressSanitizer, for the C++ core, through its binding and the pipeline. Go's own
# packages, whose memory is safe, are compiled without it.
asan:
	CGO_CFLAGS="-O1 -g" CGO_CXXFLAGS="-O1 -g" go test -timeout 60m -asan $(UNCHECKED:%=-gcflags=%=-asan=false) ./csrc/testnet ./cgo ./sd

# The C++ kernels against naive loops, plain and under the sanitizers.
kernels:
	sh csrc/test/run.sh

# Instruction sets that this machine may lack, in an emulator; ISA="avx-vnni" runs
# only one. Each takes five minutes of processor time. Not part of test.
emulate:
	csrc/test/emulate.sh $(ISA)

# Every fuzz target for a few seconds.
fuzz:
	sh testdata/fuzz.sh $(or $(FUZZ_TIME),3s)

# Every fuzz target for long. Failures are printed again at the end; the inputs that
# caused them are in the package's testdata/fuzz, where go test runs them again.
fuzz-long:
	sh testdata/fuzz.sh $(or $(FUZZ_TIME),10m)

# 10,000 files of each format take an hour of processor time under each. Packages of
# Go's library that share nothing, and the one that damages the files, are compiled
# without checks: with them it would be three times as much.
MUTATIONS = SDGO_MUTATIONS=$(or $(N),10000) go test -timeout 24h -run Mutations -count 1
UNCHECKED = regexp regexp/syntax encoding/json encoding/binary encoding/base64 strconv hash/fnv hash/crc32 bytes strings archive/zip \
	compress/flate unicode unicode/utf8 math math/rand/v2 internal/chacha8rand sort slices maps reflect fmt bufio github.com/sdgo/sdgo/internal/mutate
mutations:
	$(MUTATIONS) -race $(UNCHECKED:%=-gcflags=%=-race=false) ./sd
	CGO_CFLAGS="-O1 -g" CGO_CXXFLAGS="-O1 -g" $(MUTATIONS) -asan $(UNCHECKED:%=-gcflags=%=-asan=false) ./sd

# How other modules use this one: with a replace directive, vendored, static, with
# the race detector; and the packages that need no C compiler. It uses what unit and
# race have built.
consumer:
	go test -timeout 30m ./testdata/consumer

# The page of sdgo serve in a real browser; FILE=gallery.test.js runs one file.
page-test: sdgo
	sh testdata/page/run.sh $(FILE)

# The page's pictures in the documentation.
page-pictures: sdgo
	sh testdata/page/run.sh pictures

# Programs of others against the server; CLIENTS="python node golang".
clients:
	sh testdata/clients/run.sh $(CLIENTS)

# The packages that need no C compiler, vetted for other systems.
PURE = ./job ./sampler ./convert/... ./sd/request ./sd/tensor ./sd/prompt ./sd/classes ./sd/tokenizer/... ./sd/picture ./sd/pngtext ./sd/preprocess ./sd/guide ./sd/direction ./sd/face ./cli/output ./cli/report ./server/... ./train/optim ./train/loss ./train/data ./train/random ./train ./train/chart ./hub ./csrc/fault/... ./internal/...
vet-elsewhere:
	for system in darwin/arm64 windows/amd64 linux/arm64; do \
		CGO_ENABLED=0 GOOS=$${system%/*} GOARCH=$${system#*/} go vet $(PURE) || exit 1; \
	done

lint: vet-elsewhere
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -d $$(git ls-files '*.go'); exit 1; }
	go vet ./... ./testdata/consumer ./testdata/consumer/program
	go run $(STATICCHECK) ./... ./testdata/consumer ./testdata/consumer/program
	clang-format --dry-run -Werror $(CPP_SOURCES)

# TEST_DEVICE is a device that `sdgo devices` lists; the default is Vulkan in
# software. ggml lists software devices only on request, and their compiler takes
# minutes for shaders that compute in float16. LP_NUM_THREADS=0 makes it run
# workgroups in order, which ggml's products with few rows need there (docs/gpu.md,
# "Agreement"). Its compiler takes ten times as long for vectors of 512 bits as for
# 256.
SOFTWARE = $(if $(TEST_DEVICE),,LP_NATIVE_VECTOR_WIDTH=256 GGML_VK_VISIBLE_DEVICES=0 GGML_VK_DISABLE_F16=1 LP_NUM_THREADS=0)
gpu:
	$(SOFTWARE) SDGO_BACKEND_PATH="$(CURDIR)/lib/sdgo" SDGO_TEST_DEVICE=$(or $(TEST_DEVICE),vulkan0) \
		go test -count=1 -timeout 40m -run OnDevice ./sd ./builtin ./cli

bench:
	go test -run '^$$' -bench . -benchmem ./...

# Ninja runs one job for each processor by itself; make needs --parallel.
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
