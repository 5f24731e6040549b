package service

import (
	"bytes"
	"errors"
	"image"
	"slices"
	"sync"
	"time"

	"github.com/disintegration/imaging"

	"github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/server/gallery"
	"github.com/sdgo/sdgo/server/queue"
)

// Shot is a picture that was made, in memory or in the gallery's folder.
type Shot struct {
	ID            string
	Job           string // "" if the job is forgotten
	Created       time.Time
	Format        string
	Width, Height int
	Text          string
	Draft         bool
	Bytes         int64

	inMemory *queue.Picture
	inFolder gallery.Entry
}

func ofMemory(p *queue.Picture) Shot {
	return Shot{ID: p.ID, Job: p.Job, Created: p.Created, Format: p.Format, Width: p.Width, Height: p.Height, Text: p.Text, Draft: p.Draft, Bytes: int64(len(p.Data)), inMemory: p}
}

func ofFolder(e gallery.Entry) Shot {
	return Shot{ID: e.ID, Created: e.Created, Format: e.Format, Width: e.Width, Height: e.Height, Text: e.Text, Bytes: e.Bytes, inFolder: e}
}

// Shots are a client's pictures, the newest first.
func (s *Service) Shots(client string) (all []Shot) {
	known := map[string]bool{}
	for _, p := range s.Queue.Pictures() {
		if p.Client == client {
			all = append(all, ofMemory(p))
			known[p.ID] = true
		}
	}
	if s.Gallery != nil {
		owner := gallery.Owner(client)
		for _, e := range s.Gallery.List() {
			if e.Owner == owner && !known[e.ID] {
				all = append(all, ofFolder(e))
			}
		}
		slices.SortStableFunc(all, func(a, b Shot) int { return b.Created.Compare(a.Created) })
	}
	return all
}

// Shot finds a picture by its id, whoever's it is: ids cannot be guessed.
func (s *Service) Shot(id string) (Shot, bool) {
	if p, ok := s.Queue.Picture(id); ok {
		return ofMemory(p), true
	}
	if s.Gallery != nil {
		if e, ok := s.Gallery.Find(id); ok {
			return ofFolder(e), true
		}
	}
	return Shot{}, false
}

// Read returns a picture's file.
func (s *Service) Read(shot Shot) ([]byte, error) {
	if shot.inMemory != nil {
		return shot.inMemory.Data, nil
	}
	return s.Gallery.Read(shot.inFolder)
}

// Delete removes a client's picture; it is false if the client has none of this id.
func (s *Service) Delete(client, id string) (bool, error) {
	found := false
	if p, ok := s.Queue.Picture(id); ok && p.Client == client {
		found = s.Queue.DropPicture(id)
	}
	if s.Gallery == nil {
		return found, nil
	}
	e, ok := s.Gallery.Find(id)
	if !ok || e.Owner != gallery.Owner(client) {
		return found, nil
	}
	ok, err := s.Gallery.Delete(id)
	return found || ok, err
}

// Save puts the pictures of a job that has ended into the gallery. One that cannot be
// saved stays in memory for as long as its job, which gets a warning.
func (s *Service) Save(j *queue.Job) error {
	if s.Gallery == nil {
		return nil
	}
	v, _ := j.View()
	var failed error
	for _, p := range v.Pictures {
		e := gallery.Entry{ID: p.ID, Owner: gallery.Owner(p.Client), Created: p.Created, Format: p.Format, Width: p.Width, Height: p.Height, Text: p.Text}
		if err := s.Gallery.Add(e, p.Data); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	if failed != nil {
		j.Warn("pictures could not be saved on the server's disk; they are kept in memory for a time")
	}
	return failed
}

// thumbnailSide bounds the sides of thumbnails.
const thumbnailSide = 256

// thumbnails are those that were made last.
type thumbnails struct {
	mutex sync.Mutex
	all   map[string][]byte
	order []string
}

// Thumbnail is a small JPEG picture of one.
func (s *Service) Thumbnail(shot Shot) ([]byte, error) {
	s.thumbs.mutex.Lock()
	if b, ok := s.thumbs.all[shot.ID]; ok {
		s.thumbs.mutex.Unlock()
		return b, nil
	}
	s.thumbs.mutex.Unlock()
	data, err := s.Read(shot)
	if err != nil {
		return nil, err
	}
	img, err := picture.Read(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	var small image.Image = img
	if img.Rect.Dx() > thumbnailSide || img.Rect.Dy() > thumbnailSide {
		small = imaging.Fit(img, thumbnailSide, thumbnailSide, imaging.Lanczos)
	}
	var b bytes.Buffer
	if err := picture.Encode(&b, small, picture.Options{Format: picture.JPEG, Quality: 80}); err != nil {
		return nil, err
	}
	s.thumbs.keep(shot.ID, b.Bytes())
	return b.Bytes(), nil
}

// maxThumbnails bounds those that are kept.
const maxThumbnails = 1000

func (t *thumbnails) keep(id string, data []byte) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.all == nil {
		t.all = map[string][]byte{}
	}
	if _, ok := t.all[id]; !ok {
		t.order = append(t.order, id)
	}
	t.all[id] = data
	for len(t.order) > maxThumbnails {
		delete(t.all, t.order[0])
		t.order = t.order[1:]
	}
}

// TextOfPicture is the parameters' text of a picture's file.
func TextOfPicture(data []byte) (string, error) {
	facts, err := picture.ReadFacts(bytes.NewReader(data))
	if err != nil {
		return "", err
	}
	for _, t := range facts.Texts {
		if t.Keyword == picture.Keyword {
			return t.Value, nil
		}
	}
	return "", job.ErrNoParameters
}
