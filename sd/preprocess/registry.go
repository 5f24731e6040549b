package preprocess

// registry is the table of preprocessors.
func registry() []Preprocessor {
	sigma := func(usual float64) Parameter {
		return Parameter{Name: "sigma", Default: usual, Min: 0.01, Max: 64, Help: "standard deviation of the blur, in pixels"}
	}
	gamma := Parameter{Name: "gamma", Default: 1, Min: 0.1, Max: 2, Help: "exponent of the brightness"}
	return []Preprocessor{
		{
			Name: "canny", Aliases: []string{"canny_edge"}, Description: "edges, as OpenCV's Canny finds them, white on black",
			Parameters: []Parameter{
				{Name: "low", Default: 100, Max: 32767, Help: "gradient from which a pixel continues an edge"},
				{Name: "high", Default: 200, Max: 32767, Help: "gradient from which a pixel begins one"},
			},
			apply: canny, scales: true,
		},
		{
			Name: "lineart", Aliases: []string{"lineart_standard", "lineart_standard (from white bg & black line)"},
			Description: "dark lines on light ground, white on black",
			Parameters:  []Parameter{sigma(6), {Name: "threshold", Default: 8, Max: 255, Help: "darkness from which a pixel counts for the lines' usual strength"}},
			apply:       lineart, scales: true,
		},
		{
			Name: "scribble", Aliases: []string{"scribble_xdog", "xdog"}, Description: "rough strokes by the difference of two blurs (XDoG), white on black",
			Parameters: []Parameter{{Name: "threshold", Default: 32, Min: 1, Max: 254, Help: "difference from which a pixel is a stroke"}},
			apply:      scribble, scales: true,
		},
		{
			Name: "threshold", Description: "white where all of red, green and blue are brighter than a level, black elsewhere",
			Parameters: []Parameter{{Name: "level", Default: 127, Max: 255, Integer: true, Help: "the level"}},
			apply:      threshold, scales: true,
		},
		{
			Name: "inpaint", Aliases: []string{"inpaint_only", "inpaint_global_harmonious"},
			Description: "the picture without what the mask paints: for inpaint ControlNets, beside a mask",
			masks:       true,
		},
		{
			Name: "invert", Aliases: []string{"invert (from white bg & black line)"}, Description: "the negative: for drawings of black lines on white",
			apply: invert,
		},
		{
			Name: "blur", Aliases: []string{"blur_gaussian"}, Description: "a Gaussian blur",
			Parameters: []Parameter{sigma(9)},
			apply:      blurred, scales: true,
		},
		{
			Name: "tile", Aliases: []string{"tile_resample"}, Description: "the picture, smaller: for tile ControlNets, which draw the detail",
			Parameters: []Parameter{{Name: "factor", Default: 1, Min: 1, Max: 8, Help: "how many times smaller; less than 1.1 changes nothing"}},
			apply:      tile,
		},
		{
			Name: "color", Aliases: []string{"t2ia_color_grid", "colour"}, Description: "squares of 64 pixels in their average colours: for T2I-Adapter's colour model",
			apply: colorGrid, scales: true,
		},
		{
			Name: "recolor_luminance", Description: "grey by CIELAB's lightness: for recolour ControlNets",
			Parameters: []Parameter{gamma},
			apply:      luminance,
		},
		{
			Name: "recolor_intensity", Description: "grey by the brightest of red, green and blue (HSV's value): for recolour ControlNets",
			Parameters: []Parameter{gamma},
			apply:      intensity,
		},
		{
			Name: "shuffle", Description: "the picture, bent out of shape at random: for shuffle ControlNets",
			Parameters: []Parameter{{Name: "seed", Max: 1 << 32, Integer: true, Help: "the same seed bends the same way"}},
			apply:      shuffle, scales: true,
		},
	}
}

// networks are the beginnings of the names of preprocessors that are networks, in
// AUTOMATIC1111's extension and in controlnet_aux.
func networks() []string {
	return []string{
		"animal", "anime", "clip", "densepose", "depth", "dsine", "dw_openpose", "dwpose", "facexlib", "hed", "instant_id", "ip-adapter",
		"leres", "lineart_anime", "lineart_coarse", "lineart_realistic", "marigold", "mediapipe", "midas", "mlsd", "mobile_sam", "normal",
		"oneformer", "openpose", "pidi", "pulid", "revision", "scribble_hed", "scribble_pidinet", "seg", "softedge", "t2ia_keypose", "t2ia_sketch",
		"teed", "te_hed", "uniformer", "upernet", "zoe",
	}
}
