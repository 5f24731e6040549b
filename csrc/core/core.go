// Package core compiles what networks run on, and links it with ggml: errors,
// devices, memory, threads, weights, plugins, quantizers. It exports nothing to Go.
//
// Importing ggml's Go package compiles ggml's core and its CPU device; the part of
// ggml's C interface that is used is declared in ggml_abi.h.
package core

// #cgo CPPFLAGS: -I${SRCDIR}/..
// #cgo CXXFLAGS: -std=c++17 -Wall -Wextra
// #cgo !asan CXXFLAGS: -O3
// #cgo windows CPPFLAGS: -D__USE_MINGW_ANSI_STDIO=1
// #cgo linux LDFLAGS: -lm -lpthread -ldl
import "C"

import (
	_ "github.com/ollama/ollama/ml/backend/ggml/ggml/src" // ggml's core and CPU device

	_ "github.com/sdgo/sdgo/csrc/kernels"
)
