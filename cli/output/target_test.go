package output

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A picture's number or seed becomes its name.
func TestPaths(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.Mkdir("folder.png", 0o777))
	for _, c := range []struct {
		name  string
		count int
		want  []string // of pictures 1 and 2, with the seeds 42 and 43
	}{
		{"out.png", 1, []string{"out.png", "out.png"}},
		{"out.png", 2, []string{"out-1.png", "out-2.png"}},
		{"a.b.JPG", 2, []string{"a.b-1.JPG", "a.b-2.JPG"}},
		{"n%03d.webp", 1, []string{"n001.webp", "n002.webp"}},
		{"n%d-%d.png", 2, []string{"n1-%d.png", "n2-%d.png"}},
		{"%s.png", 1, []string{"%s.png", "%s.png"}},
		{filepath.Join("folder.png", "x.png"), 2, []string{filepath.Join("folder.png", "x-1.png"), filepath.Join("folder.png", "x-2.png")}},
		{"folder.png", 2, []string{filepath.Join("folder.png", "42.png"), filepath.Join("folder.png", "43.png")}},
		{"-", 1, []string{"-", "-"}},
	} {
		target, err := New(c.name, c.count, nil)
		require.NoError(t, err, c.name)
		require.Equal(t, c.want, []string{target.Path(1, 42), target.Path(2, 43)}, c.name)
		require.Equal(t, c.name, target.Name())
		require.Equal(t, c.name == "folder.png", target.Folder())
		require.Equal(t, c.name == "-", target.Stdout())
		require.NoError(t, target.Check(1<<20, 1<<20))
	}
	several, err := New("out.png", 3, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"out-1.png", "out-2.png", "out-3.png"}, several.Paths())
	require.Empty(t, NewFolder("x").Paths())
	require.Equal(t, filepath.Join("x", "y.b-stage2.webp"), StagePath(filepath.Join("x", "y.b.webp"), 2))
	requireFiles(t, ".", "folder.png")
}

// In a folder nothing is overwritten, whatever has the name.
func TestFolder(t *testing.T) {
	folder := t.TempDir()
	target, err := New(folder, 3, nil)
	require.NoError(t, err)
	for i, want := range []string{"42.png", "42-2.png", "42-3.png"} {
		path, err := target.Put(Picture{Image: plain(8, 8, uint8(10*i)), Number: i + 1, Seed: 42, Text: want})
		require.NoError(t, err)
		require.Equal(t, filepath.Join(folder, want), path)
		img, text := read(t, path)
		require.Equal(t, uint8(10*i), level(img, 3, 3))
		require.Equal(t, want, text)
	}
	path, err := target.PutStage(Picture{Image: plain(8, 8, 1), Number: 4, Seed: 7}, 1)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(folder, "7-stage1.png"), path)
	path, n, err := target.Finish(true)
	require.Empty(t, path)
	require.Zero(t, n)
	require.NoError(t, err)
	requireFiles(t, folder, "42.png", "42-2.png", "42-3.png", "7-stage1.png")
}

func TestStdout(t *testing.T) {
	var out bytes.Buffer
	target, err := New("-", 1, &out)
	require.NoError(t, err)
	path, err := target.Put(Picture{Image: plain(8, 16, 5), Number: 1, Text: "a fox"})
	require.NoError(t, err)
	require.Equal(t, "-", path)
	img, text := decode(t, out.Bytes())
	require.Equal(t, 16, img.Bounds().Dy())
	require.Equal(t, "a fox", text)
}

func TestWrongTargets(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("plain", nil, 0o666))
	for _, c := range []struct {
		name     string
		count    int
		inItself bool
		want     string
	}{
		{"", 1, true, "a file name"},
		{"-", 2, true, "-: standard output takes one picture, not 2"},
		{"x", 1, true, "x: must end in .png, .jpg or .webp, such as x.png, or be a folder that exists"},
		{"x.gif", 1, true, "x.gif: must end in .png, .jpg or .webp, such as x.png"},
		{"none/x.png", 1, false, "the folder none does not exist"},
		{"none/", 1, false, "the folder none does not exist"},
		{"plain/x.png", 1, false, "plain is not a folder"},
	} {
		_, err := New(c.name, c.count, nil)
		wrong(t, err, c.inItself, c.want)
	}
	if runtime.GOOS == "linux" {
		_, err := New("/proc/out.png", 1, nil)
		wrong(t, err, false, "no file can be created in the folder /proc: ")
		require.NoError(t, os.Symlink(os.DevNull, "null.png"))
		_, err = New("null.png", 1, nil)
		wrong(t, err, false, "null.png: not a regular file")
		require.NoError(t, os.Remove("null.png"))
	}
	requireFiles(t, ".", "plain")
}

// What eight programs draw with one seed into one folder at the same moment is all
// there, with what each picture was before its second pass beside it.
func TestFolderOfManyPrograms(t *testing.T) {
	const programs, pictures = 8, 3
	folder := t.TempDir()
	done, start := make(chan error), make(chan struct{})
	for program := range programs {
		go func() {
			target := NewFolder(folder)
			<-start
			done <- func() error {
				for i := range pictures {
					p := Picture{Image: plain(8, 8, 1), Number: i + 1, Seed: 42, Text: fmt.Sprint(program, " ", i)}
					if program%2 == 0 {
						if _, err := target.PutStage(p, 1); err != nil {
							return err
						}
					}
					if _, err := target.Put(p); err != nil {
						return err
					}
				}
				return nil
			}()
		}()
	}
	close(start)
	for range programs {
		require.NoError(t, <-done)
	}
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	drafts, texts := map[string]bool{}, map[string]bool{}
	for _, e := range entries {
		_, text := read(t, filepath.Join(folder, e.Name()))
		if strings.Contains(e.Name(), "-stage1") {
			drafts[text] = true
		} else {
			texts[text] = true
		}
	}
	require.Len(t, entries, programs*pictures*3/2)
	require.Len(t, texts, programs*pictures)
	require.Len(t, drafts, programs*pictures/2)
}

// A picture's drafts and the picture have one name, which no earlier picture has.
func TestDraftsInAFolder(t *testing.T) {
	folder := t.TempDir()
	for range 2 {
		target, err := New(folder, 1, nil)
		require.NoError(t, err)
		p := Picture{Image: plain(8, 8, 1), Number: 1, Seed: 7}
		for stage := 1; stage <= 2; stage++ {
			_, err = target.PutStage(p, stage)
			require.NoError(t, err)
		}
		_, err = target.Put(p)
		require.NoError(t, err)
	}
	requireFiles(t, folder, "7-2-stage1.png", "7-2-stage2.png", "7-2.png", "7-stage1.png", "7-stage2.png", "7.png")
}

// Names as long as the file system allows are written; longer ones are refused before
// there is anything to write.
func TestLongNames(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other systems have other limits")
	}
	folder := t.TempDir()
	name := func(bytes int, of string) string {
		return filepath.Join(folder, strings.Repeat(of, (bytes-4)/len(of))+strings.Repeat("x", (bytes-4)%len(of))+".png")
	}
	for _, of := range []string{"a", "ä", "画", "😀"} {
		target, err := New(name(255, of), 1, nil)
		require.NoError(t, err)
		_, err = target.Put(Picture{Image: plain(8, 8, 1), Number: 1})
		require.NoError(t, err)
		require.FileExists(t, name(255, of))
		_, err = New(name(256, of), 1, nil)
		wrong(t, err, false, "cannot be the name of a file here: file name too long")
		_, err = New(name(253, of), 9, nil)
		require.NoError(t, err)
		_, err = New(name(253, of), 10, nil) // …-10.png
		wrong(t, err, false, "file name too long")
		target, err = New(name(248, of), 1, nil)
		require.NoError(t, err)
		require.NoError(t, target.CheckStages(0))
		require.NoError(t, target.CheckStages(9)) // …-stage9.png has 7 bytes more
		wrong(t, target.CheckStages(10), false, "file name too long")
	}
}
