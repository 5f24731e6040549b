package architecture

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The limits of docs/architecture.md.
const (
	maxMethods   = 25  // of one type
	maxFuncLines = 60  // of a function that is no test, without its tables
	maxFileLines = 500 // of a file of Go or C++ that is not generated
	maxFacade    = 12  // Go files in sd, without tests
)

// A source is a file of Go or C++, with its path from the repository's root.
type source struct {
	name string
	text []byte
}

// sources reads the repository's code. Folders of builds, which git ignores, are
// left out.
func sources(t *testing.T) []source {
	t.Helper()
	root := filepath.Join("..", "..")
	var all []source
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{".git", ".venv", "build", "lib", "node_modules"}, d.Name()):
			return filepath.SkipDir
		case d.IsDir() || !slices.Contains([]string{".go", ".h", ".c", ".cpp", ".hpp", ".cu", ".m", ".mm"}, filepath.Ext(name)):
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		file, err := filepath.Rel(root, name)
		all = append(all, source{filepath.ToSlash(file), text})
		return err
	})
	require.NoError(t, err)
	return all
}

// limitProblems are the ways in which code exceeds the limits.
func limitProblems(all []source) ([]string, error) {
	var out []string
	methods := map[string]int{} // by package and type
	facade := 0
	for _, s := range all {
		if n := bytes.Count(s.text, []byte("\n")); n > maxFileLines && !generated(s.text) {
			out = append(out, fmt.Sprintf("%s has %d lines, must be at most %d", s.name, n, maxFileLines))
		}
		if path.Ext(s.name) != ".go" {
			continue
		}
		test := strings.HasSuffix(s.name, "_test.go")
		if path.Dir(s.name) == "sd" && !test {
			facade++
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, s.name, s.text, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if f.Recv != nil {
				methods[path.Dir(s.name)+": "+file.Name.Name+"."+receiver(f.Recv.List[0].Type)]++
			}
			n := files.Position(f.End()).Line - files.Position(f.Pos()).Line + 1 - tableLines(files, f)
			if n > maxFuncLines && !test {
				out = append(out, fmt.Sprintf("%s: %s has %d lines, must be at most %d", s.name, f.Name.Name, n, maxFuncLines))
			}
		}
	}
	for name, n := range methods {
		if n > maxMethods {
			out = append(out, fmt.Sprintf("%s has %d methods, must be at most %d", name, n, maxMethods))
		}
	}
	if facade > maxFacade {
		out = append(out, fmt.Sprintf("sd has %d files, must be at most %d", facade, maxFacade))
	}
	slices.Sort(out)
	return out, nil
}

// generated tells whether a file's head says that a program wrote it, in the
// words that the go command knows.
func generated(text []byte) bool {
	for line := range bytes.Lines(text[:min(len(text), 1000)]) {
		if line = bytes.TrimSpace(line); bytes.HasPrefix(line, []byte("// Code generated ")) && bytes.HasSuffix(line, []byte(" DO NOT EDIT.")) {
			return true
		}
	}
	return false
}

// receiver is the name of a method's type.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.ParenExpr:
		return receiver(e.X)
	case *ast.IndexExpr: // a generic type
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	}
	return fmt.Sprintf("%T", e)
}

// tableLines is the number of lines of the tables in a function: composite literals
// that its statements return or assign. Code in a table, in function literals, is
// none of it.
func tableLines(files *token.FileSet, f *ast.FuncDecl) (n int) {
	if f.Body == nil {
		return 0
	}
	lines := func(node ast.Node) int { return files.Position(node.End()).Line - files.Position(node.Pos()).Line }
	for _, s := range f.Body.List {
		var values []ast.Expr
		switch s := s.(type) {
		case *ast.ReturnStmt:
			values = s.Results
		case *ast.AssignStmt:
			values = s.Rhs
		}
		for _, v := range values { // of tables that are joined, too
			if call, ok := v.(*ast.CallExpr); ok {
				values = append(values, call.Args...)
			}
		}
		for _, v := range values {
			if u, ok := v.(*ast.UnaryExpr); ok && u.Op == token.AND {
				v = u.X
			}
			if _, ok := v.(*ast.CompositeLit); !ok {
				continue
			}
			n += lines(v)
			ast.Inspect(v, func(node ast.Node) bool {
				code, ok := node.(*ast.FuncLit)
				if ok {
					n -= lines(code)
				}
				return !ok
			})
		}
	}
	return n
}

func TestLimits(t *testing.T) {
	all := sources(t)
	require.Greater(t, len(all), 500)
	found, err := limitProblems(all)
	require.NoError(t, err)
	require.Empty(t, strings.Join(found, "\n"))
}

func TestWhatExceedsTheLimitsIsSeen(t *testing.T) {
	lines := func(n int) string { return strings.Repeat("\n", n) }
	function := func(head string, n int) string { return "package a\n" + head + lines(n-1) + "}\n" }
	methods := func(receiver string, n int) (out string) {
		for i := range n {
			out += fmt.Sprintf("func (%s) M%d() {}\n", receiver, i)
		}
		return "package a\n" + out
	}
	for name, c := range map[string]struct {
		files    map[string]string
		problems []string
	}{
		"a long file": {map[string]string{"a/a.cpp": lines(501), "a/b.h": lines(500)}, []string{"a/a.cpp has 501 lines, must be at most 500"}},
		"a long test": {map[string]string{"a/a_test.go": "package a" + lines(501)}, []string{"a/a_test.go has 501 lines, must be at most 500"}},
		"generated":   {map[string]string{"a/a.go": "// Code generated by a program; DO NOT EDIT.\npackage a" + lines(600)}, nil},
		"functions": {map[string]string{
			"a/a.go":      function("func A() {", 61),
			"a/b.go":      function("func B() {", 60),
			"a/c.go":      "package a\nfunc C() []int {\nreturn []int{" + lines(61) + "}\n}\n",
			"a/d.go":      "package a\nfunc D() *T {\nt := &T{" + lines(61) + "}\nreturn t" + lines(56) + "}\n",
			"a/e.go":      "package a\nfunc E() []F {\nreturn []F{func() {" + lines(58) + "}}\n}\n",
			"a/f.go":      "package a\nfunc F() []int {\nf([]int{" + lines(58) + "})\nreturn nil\n}\n",
			"a/a_test.go": function("func E() {", 100),
		}, []string{"a/a.go: A has 61 lines, must be at most 60", "a/e.go: E has 61 lines, must be at most 60", "a/f.go: F has 62 lines, must be at most 60"}},
		"methods":                 {map[string]string{"a/a.go": methods("a T", 26), "a/b.go": methods("*U", 25)}, []string{"a: a.T has 26 methods, must be at most 25"}},
		"methods of two files":    {map[string]string{"a/a.go": methods("T", 13), "a/b.go": methods("t *T", 13)}, []string{"a: a.T has 26 methods, must be at most 25"}},
		"methods of two packages": {map[string]string{"a/a.go": methods("T", 25), "b/a.go": methods("T", 25)}, nil},
		"a generic type":          {map[string]string{"a/a.go": methods("*T[K]", 20), "a/b.go": methods("T[K]", 6)}, []string{"a: a.T has 26 methods, must be at most 25"}},
	} {
		var all []source
		for file, text := range c.files {
			all = append(all, source{file, []byte(text)})
		}
		found, err := limitProblems(all)
		require.NoError(t, err, name)
		require.Equal(t, c.problems, found, name)
	}

	var facade []source
	for i := range 13 {
		facade = append(facade, source{fmt.Sprintf("sd/%d_test.go", i), []byte("package sd")}, source{fmt.Sprintf("sd/engine/%d.go", i), []byte("package engine")})
	}
	for i := range 12 {
		facade = append(facade, source{fmt.Sprintf("sd/%d.go", i), []byte("package sd")})
	}
	found, err := limitProblems(facade)
	require.NoError(t, err)
	require.Empty(t, found)
	found, err = limitProblems(append(facade, source{"sd/new.go", []byte("package sd")}))
	require.NoError(t, err)
	require.Equal(t, []string{"sd has 13 files, must be at most 12"}, found)
	_, err = limitProblems([]source{{"a/a.go", []byte("not Go")}})
	require.Error(t, err)
}
