package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// DecodeYAML decodes one document strictly: an unknown or repeated key, a value of another type, a second document and an
// empty file are errors that begin with name:line:column.
func DecodeYAML(name string, data []byte, into any) error {
	dec := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict())
	err := dec.Decode(into)
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%s:1:1: the file is empty", name)
	}
	if err != nil {
		return yamlError(name, err)
	}
	var more any
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s:1:1: the file holds more than one document; keep one", name)
	}
	return nil
}

// yamlError puts the place first and drops the library's drawing of the source.
func yamlError(name string, err error) error {
	var at yaml.Error
	if !errors.As(err, &at) || at.GetToken() == nil {
		return fmt.Errorf("%s:1:1: %w", name, err)
	}
	pos := at.GetToken().Position
	return fmt.Errorf("%s:%d:%d: %s", name, pos.Line, pos.Column, at.GetMessage())
}

// Located is a YAML value that remembers where it stands, so that a check made later can point at it. The zero Located
// means that the key was not there.
type Located[T any] struct {
	Value        T
	Line, Column int
}

// UnmarshalYAML decodes the node strictly and keeps its position.
func (l *Located[T]) UnmarshalYAML(node ast.Node) error {
	pos := node.GetToken().Position
	l.Line, l.Column = pos.Line, pos.Column
	return yaml.NodeToValue(node, &l.Value, yaml.Strict())
}

// Set says whether the key was there.
func (l Located[T]) Set() bool { return l.Line > 0 }

// Errorf makes an error that begins with name:line:column of the value.
func (l Located[T]) Errorf(name, format string, args ...any) error {
	return fmt.Errorf("%s:%d:%d: %s", name, l.Line, l.Column, fmt.Sprintf(format, args...))
}
