package read

import (
	"os"
	"path/filepath"
	"strings"
)

// othersIn says, for the end of an error, what a folder has in place of the weights that
// it should have; "" where nothing is known of it.
func othersIn(folder string) string {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return ""
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.ToLower(e.Name())
	}
	for _, k := range []struct{ ending, text string }{
		{".aria2", "an unfinished download of aria2 is there"},
		{".incomplete", "an unfinished download is there"},
		{".part", "an unfinished download is there"},
		{".crdownload", "an unfinished download is there"},
		{".msgpack", "weights of flax are there; " + saveWeights + " (from_flax=True)"},
		{"manifest.ocdbt", "weights of orbax (JAX) are there; " + asWeights},
		{"_checkpoint_metadata", "weights of orbax (JAX) are there; " + asWeights},
		{"openvino_model.xml", "an OpenVINO model is there; " + asWeights},
		{".onnx", "an ONNX model is there; " + asWeights},
		{"saved_model.pb", "a TensorFlow model is there; " + saveWeights + " (from_tf=True)"},
		{".h5", "an HDF5 file of TensorFlow is there; " + saveWeights + " (from_tf=True)"},
		{"coremldata.bin", "a compiled Core ML model is there; " + asWeights},
		{".mlmodelc", "a compiled Core ML model is there; " + asWeights},
		{".mlpackage", "a Core ML model is there; " + asWeights},
		{".param", "an ncnn model is there; " + asWeights},
		{"snapshots", "this is a folder of Hugging Face's cache: give the folder with the hash in its snapshots"},
		{"blobs", "this is a folder of Hugging Face's cache: give the folder with the hash in its snapshots"},
	} {
		for i, name := range names {
			if strings.HasSuffix(name, k.ending) {
				return "; " + k.text + " (" + entries[i].Name() + ")"
			}
		}
	}
	if _, err := os.Stat(filepath.Join(folder, "Data", "com.apple.CoreML")); err == nil {
		return "; a Core ML package is there; " + asWeights
	}
	for i, name := range names {
		for _, ending := range []string{".safetensors", ".gguf", ".ckpt", ".pth", ".pt"} {
			if strings.HasSuffix(name, ending) && entries[i].Type().IsRegular() {
				return "; the folder has " + entries[i].Name() + ": give that file"
			}
		}
	}
	for i, name := range names {
		if name == "unet" || name == "transformer" || name == "vae" {
			return "; the folder has " + entries[i].Name() + ", and its model_index.json was not downloaded"
		}
	}
	return ""
}
