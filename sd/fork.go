package sd

// Fork returns the open model once more, with attachments of its own: it begins with
// those that the model has, and what is attached to either of them afterwards, requests of
// the other cannot name. Both compute with the same networks, their requests share passes
// and the queue of [Model.Submit], and Close closes both. A fork costs nothing, so that a
// server can have one for each request.
func (m *Model) Fork() *Model {
	if m.host() == nil {
		return &Model{}
	}
	return &Model{pipeline: m.pipeline, queue: m.queue, attached: m.others()} // whose maps are never changed, but replaced
}

// named is something attached under another name.
type named struct {
	Attachment
	name string
}

func (n named) Name() string { return n.name }

// Named is an attachment that requests, and of an adapter prompts, know by another name
// than its own ([Model.Attach]): so files of equal names in two folders can be attached to
// one model. The word of a textual inversion stays what it is.
func Named(name string, o Attachment) Attachment { return named{o, name} }
