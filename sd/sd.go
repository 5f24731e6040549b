// Package sd runs diffusion models: open a model, describe a picture, get an
// [image.Image].
//
//	model, err := sd.Open("v1-5.safetensors", sd.Options{})
//	if err != nil { … }
//	defer model.Close()
//	result, err := model.Generate(ctx, sd.Request{Prompt: "a lighthouse at dusk"})
//	if err != nil { … }
//	png.Encode(file, result.Images[0].Image)
//
// A model is a checkpoint of Stable Diffusion 1.x, 2.x or XL, or of XL's refiner:
// a safetensors file or PyTorch checkpoint (whose code is never run) in the
// original layout, a folder in the diffusers library's layout, or a GGUF file.
// What it is, is found from its tensors, never from its name.
//
// Generate follows AUTOMATIC1111's web UI where programs differ: the prompt
// grammar, the meaning of a seed and of sampler names, and the `parameters`
// text in a picture's metadata. The networks compute what the diffusers
// library computes, and are tested against it.
//
// A [Model] may be used by several goroutines at once; runs of one network
// queue up. A request is checked as a whole before any work begins, and every
// problem in it is reported ([RequestError]). Cancelling the context stops the
// computation before its next operator.
package sd

// Version is the version of this library, as in the metadata of pictures.
const Version = "0.1.0"
