package checkpoint

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// unicode is a text in a pickle; short ones only.
func unicode(s string) string {
	return "\x8c" + string([]byte{byte(len(s))}) + s
}

// persistent is a call of _reconstruct_persistent_obj with a description of a class and the
// state that a pickle pushes.
func persistent(class, state string) string {
	return "ctorch_utils.persistence\n_reconstruct_persistent_obj\n}(" + unicode("type") + unicode("class") + unicode("module_src") +
		unicode("import os; os.abort()") + unicode("class_name") + unicode(class) + unicode("state") + state + "u\x85R"
}

// network is the pickle of {"ema": an object with modules and one tensor}, of which the
// storage's file, and a module, may be others.
func network(storage, module string) string {
	bytes := "B" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(storage)))) + storage
	tensor := "ctorch._utils\n_rebuild_tensor_v2\n(ctorch.storage\n_load_from_bytes\n" + bytes + "\x85RK\x00K\x04\x85K\x01\x85\x89NtR"
	inner := persistent("Linear", "}("+unicode("_parameters")+"}("+unicode("weight")+tensor+unicode("bias")+"Nu"+unicode("_modules")+"}("+unicode("m")+module+"uu")
	return "\x80\x04}(" + unicode("ema") + persistent("Precond", "}("+unicode("sigma_data")+"G\x3f\xe0\x00\x00\x00\x00\x00\x00"+unicode("_modules")+"}("+unicode("unet")+inner+"uu") + "u."
}

// storageFile is a storage of four numbers, as torch.save writes it in the format before 1.6.
func storageFile() string {
	id := "(" + "X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04NtQ."
	return legacyFront + "\x80\x02" + id + "\x80\x02]X\x01\x00\x00\x000a." + "\x04\x00\x00\x00\x00\x00\x00\x00" + strings.Repeat("\x00\x00\x80?", 4)
}

// hostileObjects are pickles of objects that have what no network has.
func hostileObjects() map[string]string {
	good := network(storageFile(), "N")
	many := "\x80\x04(ctorch_utils.persistence\n_reconstruct_persistent_obj\nctorch.storage\n_load_from_bytes\n\x94B" +
		string(binary.LittleEndian.AppendUint32(nil, uint32(len(storageFile())))) + storageFile() + "\x94" + strings.Repeat("h\x00h\x01\x85R0", 5000) + "N."
	twice := "ctorch.nn.modules.container\nModuleDict\n)\x81}b"
	for range 10 { // 4^10 paths
		twice = persistent("A", "}("+unicode("_modules")+"}("+unicode("a")+twice+"q\x00"+unicode("b")+"h\x00"+unicode("c")+"h\x00"+unicode("d")+"h\x00uu")
	}
	twice = "\x80\x04}(" + unicode("ema") + twice + "u."
	container := "ctorch.nn.modules.container\nModuleDict\n)\x81"
	return map[string]string{
		"good":             good,
		"many storages":    many,
		"modules twice":    twice,
		"own module":       "\x80\x04}(" + unicode("ema") + "ctorch_utils.persistence\n_reconstruct_persistent_obj\n0" + container + "\x94}(" + unicode("_modules") + "}(" + unicode("a") + "h\x00uubu.",
		"states":           network(storageFile(), container+"}b}b"),
		"no state":         network(storageFile(), container),
		"state is a list":  network(storageFile(), container+"]b"),
		"module is a list": network(storageFile(), "]"),
		"module is a text": network(storageFile(), unicode("m")),
		"foreign class":    network(storageFile(), "cos\nsystem\n)\x81"),
		"foreign call":     network(storageFile(), "cos\nsystem\n"+unicode("true")+"\x85R"),
		"objects in torch": "\x80\x02" + strings.TrimPrefix(good, "\x80\x04"),
		"nested object":    network(legacyFront+network(storageFile(), "N")+"\x80\x02].", "N"),
		"nested nested":    network(strings.ReplaceAll(storageFile(), "FloatStorage", "NoneStorage"), "N"),
		"nested cut":       network(storageFile()[:100], "N"),
		"nested evil":      network("\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.", "N"),
		"no bytes":         strings.Replace(good, "_load_from_bytes\nB", "_load_from_bytes\nNB", 1),
		"no ema":           strings.Replace(good, unicode("ema"), unicode("net"), 1),
		"no class":         strings.ReplaceAll(good, unicode("class_name"), unicode("class_nome")),
		"no description":   "\x80\x04ctorch_utils.persistence\n_reconstruct_persistent_obj\nN\x85R.",
		"description":      "\x80\x04ctorch_utils.persistence\n_reconstruct_persistent_obj\n)R.",
		"numpy first":      "\x80\x04cnumpy.core.multiarray\n_reconstruct\n0" + strings.TrimPrefix(good, "\x80\x04"),
	}
}

// Objects that bring their classes along are read, and what no network has is an error.
func TestObjects(t *testing.T) {
	want := map[string]string{
		"many storages": "more instructions than a file of this size needs", "modules twice": "its modules are entangled", "own module": "modules must be nested at most 12 deep",
		"states": "sets attributes of an object that has them", "no state": `module "unet.m." has no attributes`, "state is a list": "sets attributes of an object",
		"module is a list": `module "unet." holds something that is no module`, "module is a text": `module "unet." holds something that is no module`,
		"foreign class": `refers to "os.system"`, "foreign call": `refers to "os.system"`, "nested object": `refers to "torch_utils.persistence._reconstruct_persistent_obj"`,
		"nested nested": `refers to "torch.NoneStorage"`, "nested cut": `a storage in the pickle: storage "0" must have 4 elements, got 4, and 1 bytes are left`, "nested evil": `refers to "os.system"`,
		"no bytes": "calls something that has no name", "no ema": `the pickle holds no network "ema", which EDM's training writes; it has "net" (Precond)`,
		"no class": "describes an object without the name of its class and its state", "no description": "something else than a description",
		"description": "something else than a description", "numpy first": `refers to "numpy.core.multiarray._reconstruct"`,
	}
	for name, pickle := range hostileObjects() {
		t.Run(name, func(t *testing.T) {
			check(t, []byte(pickle))
			f, err := ParseFile([]byte(pickle))
			if text, wrong := want[name]; wrong {
				require.ErrorContains(t, err, text)
				return
			}
			require.NoError(t, err)
			require.Len(t, f.Tensors, 1)
			require.Equal(t, "unet.weight", f.Tensors[0].Name)
			require.Equal(t, strings.Repeat("\x00\x00\x80?", 4), string(f.Tensors[0].Data))
			require.Equal(t, &Object{Class: "Precond", Fields: map[string]any{"sigma_data": 0.5}, Modules: map[string]string{"unet": "Linear"}}, f.Object)
			_, err = Parse(archive(t, "x/data.pkl", pickle))
			require.ErrorContains(t, err, `refers to "torch_utils.persistence._reconstruct_persistent_obj"`) // which torch.save never writes
		})
	}
}

// What the authors' code writes is in testdata/pixel, by persistence.py.
func TestObjectOfEDM(t *testing.T) {
	data, err := os.ReadFile("../../testdata/pixel/edm-ncsnpp.pkl")
	require.NoError(t, err)
	f, err := ParseFile(data)
	require.NoError(t, err)
	require.Equal(t, "VPPrecond", f.Object.Class)
	require.Equal(t, map[string]string{"model": "SongUNet"}, f.Object.Modules)
	require.Equal(t, []any{int64(1), int64(2)}, f.Object.Fields["channel_mult"])
	require.NotContains(t, f.Object.Fields, "module_src")
}

// score_sde's averages are a list, in the order of the parameters.
func TestAverages(t *testing.T) {
	tensor := func(key, shape, stride string) string {
		return "ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x00" + key + "X\x03\x00\x00\x00cpuK\x04tQK\x00" + shape + stride + "\x89NtR"
	}
	four, two := tensor("0", "K\x04\x85", "K\x01\x85"), tensor("1", "K\x02\x85", "K\x01\x85")
	file := func(averages string) []byte {
		own := "}(" + unicode("module.sigmas") + two + unicode("module.all_modules.0.W") + two + unicode("module.all_modules.1.weight") + tensor("1", "K\x04\x85", "K\x01\x85") +
			unicode("module.all_modules.1.bias") + four + "u"
		return archive(t, "x/data.pkl", "\x80\x04}("+unicode("model")+own+unicode("ema")+"}("+unicode("shadow_params")+"]("+averages+"euu.",
			"x/data/0", strings.Repeat("\x01", 16), "x/data/1", strings.Repeat("\x02", 16))
	}
	all, err := Parse(file(four + tensor("1", "K\x04\x85", "K\x01\x85")))
	require.NoError(t, err)
	got := map[string]byte{}
	for _, x := range all {
		got[x.Name] = x.Data[0]
	}
	require.Equal(t, map[string]byte{"module.sigmas": 2, "module.all_modules.0.W": 2, "module.all_modules.1.weight": 1, "module.all_modules.1.bias": 2}, got)
	for averages, want := range map[string]string{
		four:               "the list ema.shadow_params has 1 tensors, fewer than the model's parameters",
		four + four + four: "the list ema.shadow_params has 3 tensors, the model has 2 parameters",
		two + four:         `tensor 0 of the list ema.shadow_params is no average of "module.all_modules.1.weight": their shapes differ`,
		"N" + four:         "tensor 0 of the list ema.shadow_params is no average",
	} {
		_, err := Parse(file(averages))
		require.ErrorContains(t, err, want)
	}
}

// FuzzObject is a pickle of objects.
func FuzzObject(f *testing.F) {
	for _, pickle := range hostileObjects() {
		f.Add([]byte(pickle))
	}
	paths, err := filepath.Glob("../../testdata/pixel/*.pkl")
	require.NoError(f, err)
	for _, path := range paths {
		data, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(check)
}
