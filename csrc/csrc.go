// Package csrc compiles sdgo's C++ core and links it with ggml.
//
// It exports nothing to Go: package cgo is the binding. Importing ggml's Go
// package compiles ggml's core and its CPU device; csrc declares the part of
// ggml's C interface it uses in ggml_abi.h.
package csrc

// #cgo CXXFLAGS: -std=c++17 -Wall -Wextra
// #cgo !asan CXXFLAGS: -O3
// #cgo windows CPPFLAGS: -D__USE_MINGW_ANSI_STDIO=1
// #cgo linux LDFLAGS: -lm -lpthread -ldl
import "C"

import _ "github.com/ollama/ollama/ml/backend/ggml/ggml/src" // ggml's core and CPU device
