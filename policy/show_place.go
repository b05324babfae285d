package policy

import (
	"bytes"
	"strconv"
)

// Place is where something stands in the policy folder. Line and Column count from 1.
type Place struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
}

// String is file:line:column.
func (p Place) String() string {
	return p.File + ":" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Column)
}

// placeIn is where a value of a table stands; of one that is not there, the table's beginning.
func placeIn[T any](file string, l Located[T]) Place {
	return Place{File: file, Line: max(l.Line, 1), Column: max(l.Column, 1)}
}

// places are the tables of a policy folder with where everything stands.
type places struct {
	files   map[string][]byte
	matrix  matrixSpec
	windows map[string]Located[map[string]any]
}

func readPlaces(files map[string][]byte) (*places, error) {
	p := &places{files: files, windows: map[string]Located[map[string]any]{}}
	if err := DecodeYAML(matrixFile, files[matrixFile], &p.matrix); err != nil {
		return nil, err
	}
	err := DecodeYAML(windowsFile, files[windowsFile], &p.windows)
	delete(p.windows, calendarsKey)
	return p, err
}

// path is the path pattern of the i-th override, "" when it holds for all.
func (p *places) path(i int) string { return p.matrix.Overrides[i].Value.Path.Value }

// mentions says whether a rule speaks of this name.
func (p *places) mentions(name string) bool {
	for file, source := range p.files {
		if file != windowsFile && bytes.Contains(source, []byte(strconv.Quote(name))) {
			return true
		}
	}
	return false
}

// cell is where a row or, with i not below 0, the i-th override sets a cell.
func (p *places) cell(vendorType string, i int, right Right) Place {
	row := p.matrix.Matrix[vendorType]
	if i >= 0 {
		row = p.matrix.Overrides[i].Value.Cells
	}
	if given := row.byRight()[right]; given.Set() {
		return placeIn(matrixFile, given)
	}
	return placeIn(matrixFile, row.any())
}
