#!/bin/bash
# Tests instruction sets that this machine may lack, in the Bochs emulator: every
# kernel against plain loops, and the tiny models' networks and pictures against
# the reference libraries. Bochs starts Linux with nothing but the static test
# programs in it.
#
#   csrc/test/emulate.sh                 # every set that can be emulated
#   csrc/test/emulate.sh avx-vnni avx512-vnni
#
# It needs Debian 12 or later on x86-64, with Go and a C++ compiler. It takes the
# rest from Debian's archive into build/emulate and installs nothing: the kernel,
# its boot loader and busybox, the BIOS, and Bochs' source, which is compiled,
# because Debian's own Bochs has a debugger in it, which makes it slow, and a
# desktop's libraries. The kernel is Debian 13's: in Bochs with newer processors'
# models Debian 12's stops.
#
# AMX cannot be tested like this: Linux gives its registers to programs where
# there is XFD alone, which Bochs lacks.
#
# The first run takes some minutes more, for Bochs. Then each set takes five
# minutes of a processor (avx-vnni: 279 s on a Zen 4, November 2026).
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
build=$root/build/emulate

# Which processor of Bochs' has an instruction set and nothing better.
model() {
    case $1 in
    generic) echo core2_penryn_t9600 ;; # has no AVX
    avx2) echo corei7_haswell_4770 ;;
    avx-vnni) echo arrow_lake ;;
    avx512) echo corei7_skylake_x ;;
    avx512-vnni) echo tigerlake ;;
    amx)
        echo "amx cannot be emulated: see the head of this script" >&2
        return 1
        ;;
    *)
        echo "no instruction set $1: one of $all was expected" >&2
        return 1
        ;;
    esac
}
all="generic avx2 avx-vnni avx512 avx512-vnni"

# Networks and pictures. Each of these tests runs over every set of kernels; the other
# sets are skipped.
tests='^Test(NetsAgreeWithDiffusers|NetsComputeQuantizedWeightsPrecisely|XLNetsAgreeWithDiffusers|UpscalersAgreeWithTorch)$'
tests="$tests|^Test(PicturesKeepTheirAccuracy|PipelineAgreesStepByStep|XLPipelinesAgreeWithDiffusers|PictureToPictureAgrees|VariantsAgree)\$"
others() { # isa
    local names=ggml name
    for name in $all; do
        [ "$name" = "$1" ] || names="$names|$name"
    done
    echo "/(^|_)($names)(,|$)|//(^|_)($names)(,|$)"
}

# archive COMMAND… runs apt with Debian 13's archive, in lists of its own.
archive() {
    "$@" -o Dir::Etc::sourcelist="$build/trixie.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists="$build/lists"
}

# Debian's packages, unpacked into build/emulate/root, and Bochs.
fetch() {
    [ -f "$build/fetched" ] && return
    local site keys=/usr/share/keyrings/debian-archive-keyring.gpg kernel
    mkdir -p "$build/lists/partial" "$build/root" "$build/packages"
    site=$(apt-get indextargets --format '$(SITE) $(COMPONENT)' 'Created-By: Packages' | awk '$2 == "main" && $1 ~ /\/debian\/?$/ { print $1; exit }')
    printf "%s [signed-by=$keys] $site trixie main\n" deb deb-src > "$build/trixie.list"
    archive apt-get update -q
    kernel=$(archive apt-cache depends linux-image-cloud-amd64 | awk '$1 == "Depends:" && $2 ~ /^linux-image-/ { print $2 }')
    (
        cd "$build/packages"
        apt-get update -q
        apt-get download -q busybox-static isolinux syslinux-common vgabios genisoimage libmagic1 libbz2-1.0 zlib1g
        archive apt-get download -q bochsbios "$kernel"
        # The tar file is enough; apt checks it against its index.
        archive apt-get source -q --download-only bochs || true
        for package in *.deb; do
            dpkg -x "$package" "$build/root"
        done
        mkdir -p bochs
        tar xf bochs_*.orig.tar.* -C bochs --strip-components 1
    )
    cd "$build/packages/bochs"
    # Its report of its speed can stop it for ever: a signal's handler that takes
    # a lock.
    CFLAGS="-O3 -march=native -w" CXXFLAGS="-O3 -march=native -w" ./configure -q --with-nogui --enable-x86-64 --enable-avx \
        --enable-evex --enable-all-optimizations --disable-show-ips --disable-docbook > log
    make -s -j"$(nproc)" >> log 2>&1 || { tail log && false; }
    cp bochs "$build/bochs"
    cd "$root"
    touch "$build/fetched"
}

# The static test programs, for the compiler's default target: what is not a
# kernel must run on any processor.
programs() {
    local objects=$build/objects file
    rm -rf "$objects"
    mkdir -p "$objects" "$build/tree/bin"
    for file in csrc/kernels/*.cpp csrc/test/main.cpp csrc/test/*_test.cpp; do
        g++ -std=c++17 -Icsrc -O3 -c "$file" -o "$objects/$(basename "$file").o"
    done
    g++ -static "$objects"/*.o -lpthread -o "$build/tree/bin/kernels_test"
    # glibc's linker warns of dlopen, which nothing here calls.
    env -u CGO_CFLAGS -u CGO_CXXFLAGS go test -c -tags netgo,osusergo -o "$build/tree/bin/sd.test" \
        -ldflags '-linkmode external -extldflags "-static -Wl,--no-warnings" -s -w' ./sd
}

# The machine's first program: runs the tests, says how each ended, and switches
# the machine off.
init() { # isa
    cat << END
#!/bin/busybox sh
for tool in mount cat grep sort tail sleep poweroff; do /bin/busybox ln -s /bin/busybox /bin/\$tool; done
mount -t proc proc /proc
mount -t devtmpfs dev /dev
exec < /dev/null > /dev/ttyS0 2>&1
cd /sd
echo "machine: \$(grep -m1 'model name' /proc/cpuinfo)"
/bin/kernels_test $1 small
echo "kernels ended with \$?"
SDGO_KERNELS=$1 /bin/sd.test -test.v -test.run '$tests' -test.skip '$(others "$1")' > /tmp/log
code=\$?
[ \$code = 0 ] || cat /tmp/log
grep -E '^--- |PSNR' /tmp/log
echo "worst of the networks: \$(grep -o 'RMS error .*' /tmp/log | sort -g -k 3 | tail -n 1)"
echo "\$(grep -c -e '--- PASS.*$1' /tmp/log) networks and pictures ended with \$code"
sleep 1
poweroff -f
END
}

# A disc that starts Linux with the programs in memory.
disc() { # isa, file
    local tree=$build/tree disc=$build/disc busybox=$build/root/bin/busybox
    [ -f "$busybox" ] || busybox=$build/root/usr/bin/busybox
    rm -rf "$disc"
    mkdir -p "$disc" "$tree"/{proc,sys,dev,tmp,sd,testdata}
    cp "$busybox" "$tree/bin/busybox"
    cp -r testdata/{nets,pipelines,xl,upscale} "$tree/testdata"
    init "$1" > "$tree/init"
    chmod +x "$tree/init"
    (cd "$tree" && find . | "$busybox" cpio -o -H newc) > "$disc/initrd" 2> /dev/null
    cp "$build"/root/boot/vmlinuz-* "$disc/vmlinuz"
    cp "$build/root/usr/lib/ISOLINUX/isolinux.bin" "$build/root/usr/lib/syslinux/modules/bios/ldlinux.c32" "$disc"
    cat > "$disc/isolinux.cfg" << END
DEFAULT linux
LABEL linux
KERNEL /vmlinuz
APPEND initrd=/initrd console=ttyS0 quiet mitigations=off nokaslr panic=-1
END
    LD_LIBRARY_PATH=$build/root/lib/x86_64-linux-gnu:$build/root/usr/lib/x86_64-linux-gnu \
        "$build/root/usr/bin/genisoimage" -quiet -o "$2" -b isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table "$disc"
}

emulate() { # isa
    local folder=$build/$1 TIMEFORMAT="$1: %0R s, %0U s of a processor"
    rm -rf "$folder"
    mkdir -p "$folder"
    disc "$1" "$folder/disc.iso"
    cat > "$folder/bochsrc" << END
megs: 1024
cpu: model=$(model "$1"), count=1, ips=100000000
clock: sync=none
romimage: file=$build/root/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=$build/root/usr/share/vgabios/vgabios.bin
display_library: nogui
ata0: enabled=1
ata0-master: type=cdrom, path=$folder/disc.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$folder/serial
log: $folder/log
panic: action=fatal
error: action=ignore
info: action=ignore
END
    echo "$1 on a $(model "$1"):"
    # The machine is switched off, which Bochs takes for a failure.
    time "$build/bochs" -q -f "$folder/bochsrc" > "$folder/out" 2>&1 || true
    tr -d '\r' < "$folder/serial" > "$folder/result"
    cat "$folder/result"
    grep -q '^kernels ended with 0$' "$folder/result" && grep -q '^[1-9][0-9]* networks and pictures ended with 0$' "$folder/result"
}

[ $# -gt 0 ] || set -- $all
for isa; do
    model "$isa" > /dev/null
done
fetch
programs
failed=
for isa; do
    emulate "$isa" || failed="$failed $isa"
done
if [ -n "$failed" ]; then
    echo "FAILED:$failed"
    exit 1
fi
echo "all agree: $*"
