package read

import (
	"archive/zip"
	"bytes"
	"errors"
	"path"
	"slices"
	"strings"
)

// Words that more than one kind needs.
const (
	again       = "download the file again"
	asWeights   = "a model's PyTorch or safetensors weights are needed"
	saveWeights = "save the weights as safetensors, with diffusers' save_pretrained where it can load them"
	unpack      = "unpack it and give the file or the folder within"
)

// foreignKinds are the kinds of files that people take for models, tried in order, by
// what they hold first.
func foreignKinds() []foreignKind {
	return slices.Concat(failedDownloads(), []foreignKind{
		// Configurations, of models that are elsewhere.
		{what: "the index of a model in several safetensors files", help: "give the folder that it is in, with all of these files", is: isJSON("weight_map")},
		{what: "a configuration of the diffusers or transformers library", help: "give the folder that it is in, with the files of weights", is: either(isJSON("_class_name"), isJSON("_diffusers_version"), isJSON("model_type"), isJSON("architectures"))},
		{what: "a workflow of ComfyUI", help: "give the model's file", is: either(isJSON("class_type", "inputs"), isJSON("nodes", "links"))},
		{what: "an OpenVINO model (.xml and .bin)", help: "it is compiled for Intel's runtime; " + asWeights, is: isOpenVINO},
		{what: "an XML document, such as an error of a file server", help: again, is: isXML},

		// Other formats of models.
		{what: "an HDF5 file (Keras, TensorFlow)", help: saveWeights + " (from_tf=True)", is: begins("\x89HDF\r\n\x1a\n")},
		{what: "a NumPy array (.npy)", help: asWeights, is: begins("\x93NUMPY")},
		{what: "an ncnn model (.param and .bin)", help: "it is compiled for ncnn; of upscalers the .pth or .safetensors file has the same weights", is: either(begins("7767517\n", "7767517\r\n", "\xdd\x85\x76\x00", "\x47\x6b\x30\x01", "\x38\x4b\x0d\x00"), hasBeside(".bin", ".param"), hasBeside(".bin", ".param.bin"))},
		{what: "an OpenVINO model (.xml and .bin)", help: "it is compiled for Intel's runtime; " + asWeights, is: hasBeside(".bin", ".xml")},
		{what: "a TensorFlow Lite model", help: asWeights, is: hasBytes(4, "TFL3")},
		{what: "a TensorRT engine", help: "it is compiled for one GPU; " + asWeights, is: either(begins("ftrt", "ptrt"), ends(".engine", ".plan", ".trt"))},
		{what: "a TensorFlow model", help: saveWeights + " (from_tf=True)", is: isTensorFlow},
		{what: "an ONNX model", help: "it is a program for ONNX Runtime; " + asWeights, is: isONNX},
		{what: "a Core ML model", help: "it is compiled for Apple's devices; " + asWeights, is: isCoreML},
		{what: "weights of flax (msgpack)", help: saveWeights + " (from_flax=True)", is: either(isMessagePack, ends(".msgpack"))},
		{what: "weights of orbax (JAX)", help: asWeights, is: ends("manifest.ocdbt", "_checkpoint_metadata")},
		{what: "a ggml file from before GGUF", help: "convert the original weights anew", is: begins("lmgg", "fmgg", "tjgg", "algg")},
		{what: "a model of PaddlePaddle", help: asWeights, is: ends(".pdparams", ".pdmodel", ".pdiparams")},
		{what: "a model of MNN", help: asWeights, is: ends(".mnn")},
	}, foreignContainers())
}

// failedDownloads are what a download that failed leaves.
func failedDownloads() []foreignKind {
	return []foreignKind{
		{what: "an empty file", help: "the download did not work: " + again, is: isEmpty},
		{what: "a Git LFS pointer", help: "the file itself was not downloaded: git lfs pull in the repository does that, or a download of the file alone", is: begins("version https://git-lfs.github.com/spec/", "version https://hawser.github.com/spec/"), more: lfsSize},
		{what: "a Xet pointer", help: "the file itself was not downloaded: hf download does that", is: begins("# xet version")},
		{what: "an HTML page", help: "what was downloaded is a web page, such as one to log in or to accept a licence; log in, or use the file's own download link", is: isHTML, more: titleOf},
		{what: "JSON text with an error of a server", help: "the download was refused: it may need a login or a token", is: isErrorOfServer},
	}
}

// foreignContainers are archives, and what is no model at all.
func foreignContainers() []foreignKind {
	inZip := func(names ...string) func(foreign) bool {
		return func(f foreign) bool { return zipHas(f, names...) }
	}
	return []foreignKind{
		{what: "a zip archive that ends too early", help: "the download did not finish: " + again, is: func(f foreign) bool { return isZip(f) && zipOf(f) == nil }},
		{what: "a TorchScript program (torch.jit.save)", help: saveWeights, is: inZip("/constants.pkl", "/code/")},
		{what: "NumPy arrays (.npz)", help: asWeights, is: inZip(".npy")},
		{what: "a Keras model (.keras)", help: asWeights, is: inZip("model.weights.h5")},
		{what: "a Core ML package in a zip archive", help: "it is compiled for Apple's devices; " + asWeights, is: inZip(".mlmodel")},
		{what: "a diffusers folder in a zip archive (DDUF)", help: "unpack it and give the folder", is: inZip("model_index.json")},
		{what: "a zip archive with a model in it", help: unpack, is: either(inZip(".safetensors"), inZip(".ckpt"), inZip(".gguf"), inZip(".pth"), inZip(".pt"), inZip(".bin"))},
		{what: "a zip archive", help: unpack, is: func(f foreign) bool {
			return isZip(f) && !zipHas(f, "data.pkl") || begins("PK\x05\x06", "PK\x07\x08")(f)
		}},
		{what: "a 7z archive", help: unpack, is: begins("7z\xbc\xaf\x27\x1c")},
		{what: "a RAR archive", help: unpack, is: begins("Rar!\x1a\x07")},
		{what: "a gzip archive", help: unpack, is: begins("\x1f\x8b")},
		{what: "an xz archive", help: unpack, is: begins("\xfd7zXZ\x00")},
		{what: "a Zstandard archive", help: unpack, is: begins("\x28\xb5\x2f\xfd")},
		{what: "a bzip2 archive", help: unpack, is: begins("BZh")},
		{what: "a tar archive", help: unpack, is: func(f foreign) bool { return hasBytes(257, "ustar")(f) && !bytes.Contains(f.head, []byte("storages")) }},
		{what: "a torrent file", help: "it says where to download the model", is: begins("d8:announce", "d13:announce-list")},
		{what: "a PDF document", is: begins("%PDF-")},
		{what: "a picture", help: "a model's file is needed", is: either(begins("\x89PNG\r\n\x1a\n", "\xff\xd8\xff", "GIF8"), hasBytes(8, "WEBP"))},
		{what: "a program", help: "a model's file is needed", is: begins("MZ\x90\x00", "\x7fELF")},
		{what: "a file that begins with zeros", help: "the download did not finish, or the disk was full: " + again, is: isZeros},
		{what: "a JSON text", help: "a model's file is needed", is: isJSON()},
		{what: "a text file", help: "a model's file is needed", is: isText, more: beginning},
	}
}

func isZip(f foreign) bool { return bytes.HasPrefix(f.head, []byte("PK\x03\x04")) }

// zipOf is an archive's table of contents, or nil if it has none: it is at the end.
func zipOf(f foreign) *zip.Reader {
	if !isZip(f) {
		return nil
	}
	archive, err := zip.NewReader(bytes.NewReader(f.data), int64(len(f.data)))
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return nil
	}
	return archive
}

// zipHas reports whether an archive has an entry for each of some names: one that ends in
// it, or, of a folder's ("/code/"), has it in its path.
func zipHas(f foreign, names ...string) bool {
	archive := zipOf(f)
	if archive == nil {
		return false
	}
	for _, name := range names {
		found := false
		for _, e := range archive.File {
			entry := "/" + strings.ToLower(path.Clean(e.Name))
			if found = strings.HasSuffix(entry, name) || strings.HasSuffix(name, "/") && strings.Contains(entry, name); found {
				break
			}
		}
		if !found {
			return false
		}
	}
	return true
}
