package read

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/gguf"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/fixture"
)

// zipped is a zip archive with empty entries.
func zipped(names ...string) string {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range names {
		if _, err := w.CreateHeader(&zip.FileHeader{Name: name}); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.String()
}

// Files that people take for models are named, with what helps.
func TestForeignFiles(t *testing.T) {
	lfs := "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("0", 64) + "\nsize 4265146304\n"
	tar := make([]byte, 1024)
	copy(tar, "model.safetensors")
	copy(tar[257:], "ustar")
	for _, c := range []struct{ name, content, what, help string }{
		{"a.safetensors", "", "an empty file", "download the file again"},
		{"a.safetensors", lfs, "a Git LFS pointer to a file of 4265146304 bytes", "git lfs pull"},
		{"a.ckpt", lfs, "a Git LFS pointer", "git lfs pull"},
		{"a.gguf", "# xet version 0\nfilesize = 1\n", "a Xet pointer", "hf download"},
		{"a.safetensors", "<!DOCTYPE html><html><head><title>Log in – Civitai</title></head>", `an HTML page ("Log in – Civitai")`, "log in"},
		{"a.safetensors", "\xef\xbb\xbf\r\n <!-- x --><HTML lang=en>", "an HTML page", "the file's own download link"},
		{"a.gguf", "<?xml version=\"1.0\"?>\n<!DOCTYPE html>", "an HTML page", "log in"},
		{"a.safetensors", `{"error":"Access to model x is restricted"}`, "JSON text with an error of a server", "token"},
		{"a.safetensors", "<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML document", "download the file again"},
		{"model.safetensors.index.json", `{"metadata":{},"weight_map":{"a":"b.safetensors"}}`, "the index of a model in several safetensors files", "give the folder"},
		{"config.json", `{"_class_name":"UNet2DConditionModel","act_fn":"silu"}`, "a configuration of the diffusers or transformers library", "give the folder"},
		{"config.json", `{"architectures":["CLIPTextModel"]}`, "a configuration of the diffusers or transformers library", "give the folder"},
		{"w.json", `{"3":{"class_type":"KSampler","inputs":{}}}`, "a workflow of ComfyUI", "give the model's file"},
		{"a.json", `{"a": 1, "b": [2]}`, "a JSON text", "a model's file is needed"},
		{"openvino_model.xml", `<?xml version="1.0"?><net name="unet" version="11"><layers><layer id="0"/></layers></net>`, "an OpenVINO model", "PyTorch or safetensors"},
		{"tf_model.h5", "\x89HDF\r\n\x1a\n\x00\x00", "an HDF5 file (Keras, TensorFlow)", "from_tf=True"},
		{"a.npy", "\x93NUMPY\x01\x00v\x00{'descr'", "a NumPy array (.npy)", "PyTorch or safetensors"},
		{"a.npz", zipped("arr_0.npy"), "NumPy arrays (.npz)", "PyTorch or safetensors"},
		{"a.param", "7767517\n75 83\nInput", "an ncnn model", "the .pth or .safetensors file"},
		{"a.bin", "\x47\x6b\x30\x01\x00\x3c\x00\x3c", "an ncnn model", "the .pth or .safetensors file"},
		{"a.tflite", "\x1c\x00\x00\x00TFL3\x14\x00", "a TensorFlow Lite model", "PyTorch or safetensors"},
		{"a.plan", "ftrt\x00\x00\x00\x00", "a TensorRT engine", "one GPU"},
		{"saved_model.pb", "\x08\x01\x12\x10\x0a\x0e\x22\x05serve2.1.0", "a TensorFlow model", "from_tf=True"},
		{"saved_model", "\x08\x01\x12\x10\x0a\x0e\x22\x05serve2.1.0", "a TensorFlow model", "from_tf=True"},
		{"model.ckpt-1.index", "\x00\x01\x02abc" + strings.Repeat("\x01", 90) + "\x57\xfb\x80\x8b\x24\x75\x47\xdb", "a TensorFlow model", "from_tf=True"},
		{"model.ckpt.data-00000-of-00001", "\x01\x02\x03\x04\x05\x06\x07\x08\x09", "a TensorFlow model", "from_tf=True"},
		{"a.safetensors", "\x08\x0e\x12\x07pytorch:3\n\x0c\n\x01x\x12\x01y\"\x04Relu", "an ONNX model", "ONNX Runtime"}, // as onnx 1.20 writes it
		{"a.bin", "\x08\x0e:3\n\x0c\n\x01x\x12\x01y\"\x04Relu\x12\x01g", "an ONNX model", "ONNX Runtime"},
		{"model.onnx", "\x01\x02\x03\x04\x05\x06\x07\x08\x09", "an ONNX model", "ONNX Runtime"},
		{"a.mlmodel", "\x08\x04\x12\x1c\x0a\x0d\x0a\x05image\x1a\x04\x22\x02\x08\x01", "a Core ML model", "Apple"},
		{"a.bin", "\x08\x05\x12\x1c\x0a\x0d\x0a\x05image\x1a\x04\x22\x02\x08\x01", "a Core ML model", "Apple"},
		{"diffusion_flax_model.msgpack", "\x83\xa7conv_in\x82\xa4bias\xc7\x10\x01", "weights of flax", "from_flax=True"},
		{"manifest.ocdbt", "\x0c\xdb\x3a\x2a\x00\x00\x00\x00", "weights of orbax (JAX)", "PyTorch"},
		{"flax", "\xde\x00\x14\xa7conv_in\x82\xa4bias\xc7", "weights of flax", "from_flax=True"},
		{"ggml-model.bin", "lmgg\x01\x00\x00\x00\x02\x03", "a ggml file from before GGUF", "anew"},
		{"a.pdparams", "\x01\x02\x03\x04\x05\x06\x07\x08\x09", "a model of PaddlePaddle", "PyTorch or safetensors"},
		{"a.pt", zipped("m/data.pkl", "m/constants.pkl", "m/code/__torch__.py"), "a TorchScript program", "save_pretrained"},
		{"a.keras", zipped("config.json", "model.weights.h5"), "a Keras model", "PyTorch or safetensors"},
		{"a.dduf", zipped("model_index.json", "unet/diffusion_pytorch_model.safetensors"), "a diffusers folder in a zip archive (DDUF)", "unpack it and give the folder"},
		{"a.zip", zipped("model.safetensors", "README.txt"), "a zip archive with a model in it", "unpack it"},
		{"a.zip", zipped("x/Manifest.json", "x/Data/com.apple.CoreML/model.mlmodel"), "a Core ML package in a zip archive", "Apple"},
		{"a.zip", zipped("a.txt"), "a zip archive", "unpack it"},
		{"a.zip", zipped(), "a zip archive", "unpack it"},
		{"a.pt", zipped("m/data.pkl", "m/data/0")[:40], "a zip archive that ends too early", "download the file again"},
		{"a.7z", "7z\xbc\xaf\x27\x1c\x00\x04", "a 7z archive", "unpack it"},
		{"a.rar", "Rar!\x1a\x07\x01\x00", "a RAR archive", "unpack it"},
		{"a.gz", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00", "a gzip archive", "unpack it"},
		{"a.xz", "\xfd7zXZ\x00\x00\x04", "an xz archive", "unpack it"},
		{"a.zst", "\x28\xb5\x2f\xfd\x04\x58\x00\x00", "a Zstandard archive", "unpack it"},
		{"a.bz2", "BZh91AY&SY", "a bzip2 archive", "unpack it"},
		{"a.tar", string(tar), "a tar archive", "unpack it"},
		{"a.torrent", "d8:announce35:udp://x", "a torrent file", "where to download"},
		{"a.safetensors", "%PDF-1.7\n%\xe2\xe3", "a PDF document", ""},
		{"a.safetensors", "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "a picture", "a model's file is needed"},
		{"a.exe", "MZ\x90\x00\x03\x00\x00\x00", "a program", "a model's file is needed"},
		{"a.safetensors", strings.Repeat("\x00", 100), "a file that begins with zeros", "the download did not finish"},
		{"a.txt", "Dear reader,\nthis is a letter.", `a text file, which begins with "Dear reader,"`, "a model's file is needed"},
		{"a.safetensors.part", "\x01\x02\x03\x04\x05\x06\x07\x08\x09", "an unfinished download, whose name ends in .part", "let it finish"},
		{"a.ckpt.crdownload", "\x80\x02\x03", "an unfinished download, whose name ends in .crdownload", "download the file again"},
		{"a.aria2", "\x00\x01\x00\x00\x00\x00\x00\x00\x00\x14", "an unfinished download, whose name ends in .aria2", "let it finish"},
	} {
		path := filepath.Join(t.TempDir(), c.name)
		require.NoError(t, os.WriteFile(path, []byte(c.content), 0o666))
		for _, read := range []func(string) (*model.Model, error){Open, Load} {
			_, err := read(path)
			require.ErrorContains(t, err, path+": "+c.what, "%s %.40q", c.name, c.content)
			require.ErrorContains(t, err, c.help, c.what)
			require.NotContains(t, err.Error(), "\n")
			if !strings.HasPrefix(c.what, "an unfinished") {
				require.ErrorIs(t, err, model.ErrUnrecognized)
			}
		}
		_, err := Assemble(Components{VAE: path})
		require.ErrorContains(t, err, path+": "+c.what)
	}
}

// Files beside one that is not known tell what it is.
func TestForeignNeighbours(t *testing.T) {
	for neighbour, want := range map[string]string{"a.param": "an ncnn model", "a.xml": "an OpenVINO model"} {
		dir := t.TempDir()
		path := filepath.Join(dir, "a.bin")
		require.NoError(t, os.WriteFile(path, []byte("\x00\x00\x00\x00\x01\x02\x03\x04\x05"), 0o666))
		_, err := Open(path)
		require.NotContains(t, err.Error(), want)
		require.NoError(t, os.WriteFile(filepath.Join(dir, neighbour), nil, 0o666))
		_, err = Open(path)
		require.ErrorContains(t, err, want)
	}
}

// A model that aria2 still downloads has its full length, with zeros in it.
func TestUnfinishedDownload(t *testing.T) {
	path := fixture.SaveNew(t, nil, fixture.Fill(fixture.Weights(fixture.Tiny()), "F16"))
	open(t, path)
	require.NoError(t, os.WriteFile(path+".aria2", nil, 0o666))
	_, err := Open(path)
	require.ErrorContains(t, err, "an unfinished download: aria2's "+filepath.Base(path)+".aria2 is beside it: run aria2c -c again")

	dir, _ := fixture.Folder(t, nil)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "vae", "diffusion_pytorch_model.safetensors.aria2"), nil, 0o666))
	_, err = Open(dir)
	require.ErrorContains(t, err, "vae: diffusion_pytorch_model.safetensors: an unfinished download")
}

// A download that ended early says so, in every format.
func TestCutOff(t *testing.T) {
	whole := fixture.SaveNew(t, nil, fixture.Fill(fixture.Weights(fixture.Tiny()), "F16"))
	data, err := os.ReadFile(whole)
	require.NoError(t, err)
	g := ggufOf(t)
	for name, part := range map[string][]byte{"a.safetensors": data[:len(data)-100], "b.safetensors": data[:100], "c.gguf": g[:len(g)-100], "d.gguf": []byte("GGUF\x03\x00")} {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, part, 0o666))
		_, err := Open(path)
		require.ErrorContains(t, err, "the download did not finish: download the file again", name)
	}
}

// ggufOf is a GGUF file of one tensor.
func ggufOf(t *testing.T, meta ...gguf.KV) []byte {
	l, err := gguf.NewLayout(meta, []gguf.Tensor{{Name: "a", Shape: []int64{64}}})
	require.NoError(t, err)
	return append(l.Header, make([]byte, l.Size-int64(len(l.Header)))...)
}

// Parts of a model are told by what they say of themselves, or by their names.
func TestSplitFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x-00001-of-00003.gguf")
	require.NoError(t, os.WriteFile(path, ggufOf(t, gguf.KV{Key: "split.no", Value: uint32(0)}, gguf.KV{Key: "split.count", Value: uint32(3)}), 0o666))
	_, err := Load(path)
	require.ErrorContains(t, err, "part 1 of 3 of a split GGUF file: llama-gguf-split --merge")

	all := fixture.Fill(fixture.Weights(fixture.Tiny()), "F16")
	path = fixture.Save(t, filepath.Join(t.TempDir(), "model-00002-of-00003.safetensors"), nil, all[:len(all)/2])
	_, err = Open(path)
	require.ErrorContains(t, err, "the name says that this is part 2 of 3: give the folder that has all of them")
	require.ErrorIs(t, err, model.ErrUnrecognized)
	path = fixture.Save(t, filepath.Join(t.TempDir(), "epoch-00001-of-00001.safetensors"), nil, all) // a whole model all the same
	open(t, path)
}

// A folder without weights says what it has in their place.
func TestForeignFolders(t *testing.T) {
	for _, c := range []struct{ file, want string }{
		{"vae/diffusion_flax_model.msgpack", "vae: neither "},
		{"vae/diffusion_flax_model.msgpack", "; weights of flax are there; save the weights as safetensors, with diffusers' save_pretrained where it can load them (from_flax=True) (diffusion_flax_model.msgpack)"},
		{"vae/openvino_model.xml", "; an OpenVINO model is there"},
		{"vae/model.onnx", "; an ONNX model is there"},
		{"vae/manifest.ocdbt", "; weights of orbax (JAX) are there"},
		{"vae/tf_model.h5", "; an HDF5 file of TensorFlow is there"},
		{"vae/diffusion_pytorch_model.safetensors.incomplete", "; an unfinished download is there"},
		{"vae/config.json", "an index of its shards or a .bin is there: no weights; --vae FILE adds them"},
	} {
		dir, _ := fixture.Folder(t, nil)
		require.NoError(t, os.Remove(filepath.Join(dir, "vae/diffusion_pytorch_model.safetensors")))
		require.NoError(t, os.WriteFile(filepath.Join(dir, c.file), []byte("{}"), 0o666))
		_, err := Open(dir)
		require.ErrorContains(t, err, c.want, c.file)
	}
	for _, c := range []struct{ file, want string }{
		{"snapshots/0123/model_index.json", "give the folder with the hash in its snapshots"},
		{"saved_model.pb", "a TensorFlow model is there"},
		{"coremldata.bin", "a compiled Core ML model is there"},
		{"Data/com.apple.CoreML/model.mlmodel", "a Core ML package is there"},
		{"unet.mlmodelc/model.mil", "a compiled Core ML model is there"},
		{"x4.param", "an ncnn model is there"},
		{"sd15.safetensors", "the folder has sd15.safetensors: give that file"},
		{"unet/config.json", "the folder has unet, and its model_index.json was not downloaded"},
	} {
		dir := t.TempDir()
		require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(c.file)), 0o777))
		require.NoError(t, os.WriteFile(filepath.Join(dir, c.file), nil, 0o666))
		_, err := Open(dir)
		require.ErrorContains(t, err, "a folder that is no diffusers model: ")
		require.ErrorContains(t, err, c.want)
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "model_index.json"), []byte("version https://git-lfs.github.com/spec/v1\n"), 0o666))
	_, err := Open(dir)
	require.ErrorContains(t, err, "model_index.json: a Git LFS pointer")
}

// An index whose shards were not all downloaded.
func TestMissingShards(t *testing.T) {
	dir, _ := fixture.Folder(t, nil)
	vae := filepath.Join(dir, "vae")
	whole := filepath.Join(vae, "diffusion_pytorch_model.safetensors")
	data, err := os.ReadFile(whole)
	require.NoError(t, err)
	file, err := safetensors.Parse(data)
	require.NoError(t, err)
	index := map[string]string{}
	for i, x := range file.Tensors {
		index[x.Name] = []string{"m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors"}[i%2]
	}
	require.NoError(t, os.Rename(whole, filepath.Join(vae, "m-00002-of-00002.safetensors")))
	fixture.WriteJSON(t, vae, "diffusion_pytorch_model.safetensors.index.json", map[string]any{"weight_map": index})
	_, err = Open(dir)
	require.ErrorContains(t, err, `diffusion_pytorch_model.safetensors.index.json: the folder lacks 1 of its 2 files, such as "m-00001-of-00002.safetensors": the download did not finish`)
}

// What is looked at costs no more than the file, whatever is in it.
func FuzzForeign(f *testing.F) {
	for _, seed := range []string{"\x08\x0e\x12\xff\xff\xff\xff\x7f", "\xdf\x00\x00\x00\x01\xd9\xff", zipped("a.npy"), "<?xml <!-- <net <layer", `{"a": {"b":`, string(binary.LittleEndian.AppendUint64(nil, 1<<40))} {
		f.Add([]byte(seed), "a.bin")
	}
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		err := explained(name, data, errNoWeights)
		require.Error(t, err)
		require.Less(t, len(err.Error()), 1000)
	})
}
