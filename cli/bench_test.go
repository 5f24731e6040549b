package cli

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd"
)

// The arithmetic that bench counts is what the layers' sizes give, its parts
// add up, and both ways of computing count the same.
func TestBench(t *testing.T) {
	o := sdgo(t, "bench", "-m", tinyModel(t), "--size", "16", "--runs", "1", "--plain", "--profile", "--json")
	require.Equal(t, ExitOK, o.code, o.errors)
	var b struct {
		Size, Threads, Runs int
		Results             []benchResult
	}
	require.NoError(t, json.Unmarshal([]byte(o.out), &b))
	require.Equal(t, 16, b.Size)
	require.Equal(t, 1, b.Runs)
	require.Positive(t, b.Threads)
	require.Len(t, b.Results, 2)
	best, err := sd.Kernels("")
	require.NoError(t, err)
	for i, kernels := range []string{best, "ggml"} {
		require.Equal(t, kernels, b.Results[i].Kernels)
		require.Positive(t, b.Results[i].Load)
		require.Len(t, b.Results[i].Stages, 3)
	}
	// Two layers of 77 tokens: four 64x64 products, 64x128 and back, and scores and sums of the attention.
	text := 2 * (2*77*(4*64*64+2*64*128) + 2*2*77*77*64)
	require.InDelta(t, float64(text)/1e9, b.Results[0].Stages[0].GFLOP, 1e-9)
	for i, name := range []string{"text", "step", "decode"} {
		ours, plain := b.Results[0].Stages[i], b.Results[1].Stages[i]
		require.Equal(t, name, ours.Stage)
		require.Positive(t, ours.Seconds)
		require.Positive(t, plain.Seconds)
		kept := 0.0
		if name == "step" { // keys and values of two texts of 77 tokens, computed when they came
			kept = 2 * 2 * 2 * 77 * 64 * (3*32 + 64) / 1e9
		}
		require.InEpsilon(t, plain.GFLOP, ours.GFLOP+kept, 1e-6, name)
		require.Empty(t, plain.Ops)
		flop, took := 0.0, 0.0
		for _, op := range ours.Ops {
			flop += op.GFLOP
			took += op.Seconds
		}
		require.InEpsilon(t, ours.GFLOP, flop, 1e-6, name)
		require.InEpsilon(t, ours.Seconds, took, 0.05, name)
	}
}

// Without -m it is the model in the cache folder, which is made once.
func TestBenchRandom(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"XDG_CACHE_HOME", "HOME", "LocalAppData"} {
		t.Setenv(name, folder)
	}
	said := new(strings.Builder)
	path, err := randomModel(context.Background(), said, "tiny")
	require.NoError(t, err)
	require.FileExists(t, path)
	require.Contains(t, said.String(), "random-tiny.safetensors, a model with random weights, once")
	said.Reset()
	again, err := randomModel(context.Background(), said, "tiny")
	require.NoError(t, err)
	require.Equal(t, path, again)
	require.Empty(t, said.String())

	model, err := os.ReadFile(tinyModel(t))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(path), "random-sd1.safetensors"), model, 0o600))
	o := sdgo(t, "bench", "--size", "16", "--runs", "1")
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Contains(t, o.out, "random-sd1, 16x16")
	require.Empty(t, o.errors)
}

func TestBenchTable(t *testing.T) {
	o := sdgo(t, "bench", "-m", tinyModel(t), "--size", "16", "--runs", "1", "--plain", "--profile")
	require.Equal(t, ExitOK, o.code, o.errors)
	table := strings.Split(strings.Split(o.out, "\n\n")[1], "\n")
	require.Contains(t, table[0], "times as long")
	for _, line := range table {
		require.Len(t, line, len(table[0]), "columns line up")
	}
	require.Contains(t, o.out, "median of 1")
}

func TestBenchRefuses(t *testing.T) {
	sdgo(t, "bench", "--size", "12").requireError(t, ExitUsage, "--size", "multiple of 8")
	sdgo(t, "bench", "--size", "-8").requireError(t, ExitUsage, "--size")
	sdgo(t, "bench", "--random", "sd9").requireError(t, ExitUsage, "--random", "sdxl")
	sdgo(t, "bench", "--random", "sd1", "-m", "none.gguf").requireError(t, ExitUsage, "--random", "--model")
	sdgo(t, "bench", "--runs", "0").requireError(t, ExitUsage, "--runs", "1 to 1000")
	sdgo(t, "bench", "-m", "none.gguf").requireError(t, ExitFailure, "none.gguf")
	sdgo(t, "bench", "extra").requireError(t, ExitUsage, "extra")
}
