package queue

import (
	"errors"
	"image"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/server/wire"
)

func spec(client string, priority, pictures int) Spec {
	return Spec{API: "test", Client: client, Model: "m", Priority: priority, Tasks: make([]Task, pictures)}
}

func TestOrderAndLimits(t *testing.T) {
	q := New(Limits{Waiting: 4, PerClient: 3}, nil)
	var want []*Job
	for _, p := range []int{0, 5, 0} {
		j, err := q.Add(spec("a", p, 1))
		require.NoError(t, err)
		want = append(want, j)
	}
	require.Equal(t, []*Job{want[1], want[0], want[2]}, q.Waiting())
	_, err := q.Add(spec("a", 9, 1))
	require.ErrorIs(t, err, ErrTooMany)
	last, err := q.Add(spec("b", -1, 1))
	require.NoError(t, err)
	_, err = q.Add(spec("b", 9, 1))
	require.ErrorIs(t, err, ErrFull)
	v, _ := last.View()
	require.Equal(t, 4, v.Position)
	require.Equal(t, map[string]int{"m": 4}, q.Depth())

	require.True(t, q.Take(want[1]))
	require.False(t, q.Take(want[1]))
	q.Requeue(want[1])
	require.Equal(t, want[1], q.Waiting()[0], "it keeps its place")
	require.True(t, q.Cancel(want[1]))
	require.False(t, q.Cancel(want[1]))
	q.Requeue(want[1])
	require.Len(t, q.Waiting(), 3, "a cancelled job does not come back")
	q.Stop()
	_, err = q.Add(spec("c", 0, 1))
	require.ErrorIs(t, err, ErrStopping)
	_, err = q.Add(Spec{})
	require.ErrorContains(t, err, "at least one picture")
}

// The pictures that jobs begin with are bounded, whatever they wait for; those that tasks
// share count once.
func TestInputs(t *testing.T) {
	q := New(Limits{Inputs: 10_000}, nil)
	img := image.NewNRGBA(image.Rect(0, 0, 50, 40)) // 8,000 bytes
	spec := Spec{Tasks: []Task{{Request: request.Request{Image: img}}, {Request: request.Request{Image: img}}}}
	one, err := q.Add(spec)
	require.NoError(t, err)
	_, err = q.Add(spec)
	require.ErrorIs(t, err, ErrFull)
	_, err = q.Add(Spec{Tasks: []Task{{}}})
	require.NoError(t, err, "one without a picture")
	q.Cancel(one)
	_, err = q.Add(spec)
	require.NoError(t, err)
	large := Spec{Tasks: []Task{{Request: request.Request{Image: image.NewGray(image.Rect(0, 0, 500, 500))}}}}
	_, err = New(Limits{Inputs: 10_000}, nil).Add(large)
	require.NoError(t, err, "one that is alone")
}

func TestKeys(t *testing.T) {
	q := New(Limits{}, nil)
	s := spec("a", 0, 1)
	s.Key = "mine"
	j, err := q.Add(s)
	require.NoError(t, err)
	_, err = q.Add(s)
	require.ErrorIs(t, err, ErrDuplicate)
	got, ok := q.Find("a", "mine")
	require.True(t, ok)
	require.Equal(t, j, got)
	_, ok = q.Find("b", "mine")
	require.False(t, ok, "another client's id is not found")
	s.Client = "b"
	_, err = q.Add(s)
	require.NoError(t, err)
}

func TestProgress(t *testing.T) {
	q := New(Limits{}, nil)
	s := spec("a", 0, 2)
	s.Tasks[0].Request.Image = image.NewNRGBA(image.Rect(0, 0, 1, 1))
	j, err := q.Add(s)
	require.NoError(t, err)
	v, changed := j.View()
	require.Equal(t, Queued, v.State)
	require.True(t, q.Take(j))
	<-changed
	j.Step(0, wire.Step{Stage: string(request.StageSample), Index: 5, Of: 10}, []byte("png"))
	v, _ = j.View()
	require.InDelta(t, 0.45/2, v.Fraction, 1e-9)
	require.Equal(t, 5, v.Step)
	require.Equal(t, &Preview{0, 5, []byte("png")}, j.Preview())
	j.Step(7, wire.Step{}, nil) // no such picture
	j.Finish(1, wire.Picture{Seed: 2}, []byte("two"), false)
	j.Finish(0, wire.Picture{Seed: 1}, []byte("one"), false)
	v, _ = j.View()
	require.Equal(t, []uint64{1, 2}, []uint64{v.Pictures[0].Seed, v.Pictures[1].Seed}, "in the order of the tasks")
	require.Empty(t, j.Left())
	j.Complete()
	<-j.Ended()
	v, _ = j.View()
	require.Equal(t, Done, v.State)
	require.Equal(t, 1.0, v.Fraction)
	require.Nil(t, j.Task(0).Request.Image, "its memory is free")
	p, ok := q.Picture(v.Pictures[0].ID)
	require.True(t, ok)
	require.Equal(t, "one", string(p.Data))
	require.Len(t, p.ID, 32)
}

func TestSkipAndRetry(t *testing.T) {
	q := New(Limits{}, nil)
	j, err := q.Add(spec("a", 0, 3))
	require.NoError(t, err)
	require.Equal(t, -1, j.Skip())
	q.Take(j)
	require.Equal(t, 0, j.Skip())
	j.Finish(1, wire.Picture{}, nil, false)
	q.Requeue(j)
	require.Equal(t, []int{2}, j.Left(), "what is finished and what was left out stays so")
	require.True(t, q.Take(j))
	require.Equal(t, 2, j.Attempt())
	q.Fail(j, &Error{Code: "x", Message: "why"})
	v, _ := j.View()
	require.Equal(t, Failed, v.State)
	require.Len(t, v.Pictures, 1, "finished pictures are kept")
	require.Equal(t, "why", v.Err.Message)
	require.True(t, errors.As(error(v.Err), new(*Error)))
}

// What is kept is bounded by time, by number and by bytes.
func TestRetention(t *testing.T) {
	now := time.Unix(1000, 0)
	q := New(Limits{Keep: time.Minute, KeepJobs: 3, KeepBytes: 100}, nil)
	q.now = func() time.Time { return now }
	end := func(bytes int) *Job {
		j, err := q.Add(spec("a", 0, 1))
		require.NoError(t, err)
		q.Take(j)
		j.Finish(0, wire.Picture{}, make([]byte, bytes), false)
		j.Complete()
		return j
	}
	first := end(10)
	require.Len(t, q.Jobs(), 1)
	now = now.Add(time.Minute)
	require.Empty(t, q.Jobs())
	v, _ := first.View()
	_, ok := q.Picture(v.Pictures[0].ID)
	require.False(t, ok)
	for range 5 {
		end(10)
	}
	require.Len(t, q.Jobs(), 3)
	end(95)
	require.Len(t, q.Pictures(), 1)
	require.True(t, q.DropPicture(q.Pictures()[0].ID))
	require.Empty(t, q.Pictures())
}
