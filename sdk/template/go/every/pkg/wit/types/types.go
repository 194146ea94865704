// Package types holds the interface's words that Go has none for. Knows nothing of memory.
//
// The generated bindings ask for it under the path go.bytecodealliance.org/pkg/wit/types; it stands here so that a
// build needs no network. go.mod leads there.
package types

// Unit is the value of a result that holds none.
type Unit struct{}

// What an option's Tag says.
const (
	OptionNone uint8 = iota
	OptionSome
)

// Option is a value that may be missing. Its zero value is missing.
type Option[T any] struct {
	tag   uint8
	value T
}

// Some is a value that is there.
func Some[T any](value T) Option[T] { return Option[T]{OptionSome, value} }

// None is a value that is missing.
func None[T any]() Option[T] { return Option[T]{} }

// Tag is OptionNone or OptionSome.
func (option Option[T]) Tag() uint8 { return option.tag }

// IsSome tells whether the value is there.
func (option Option[T]) IsSome() bool { return option.tag == OptionSome }

// Some gives the value; it panics if that is missing.
func (option Option[T]) Some() T {
	if option.tag != OptionSome {
		panic("the value of an option that has none")
	}
	return option.value
}

// SomeOr gives the value, or another if it is missing.
func (option Option[T]) SomeOr(other T) T {
	if option.tag == OptionSome {
		return option.value
	}
	return other
}

// What a result's Tag says.
const (
	ResultOk uint8 = iota
	ResultErr
)

// Result is a value or an error. Its zero value is the zero value.
type Result[T any, E any] struct {
	tag uint8
	ok  T
	err E
}

// Ok is a value.
func Ok[T any, E any](value T) Result[T, E] { return Result[T, E]{tag: ResultOk, ok: value} }

// Err is an error.
func Err[T any, E any](err E) Result[T, E] { return Result[T, E]{tag: ResultErr, err: err} }

// Tag is ResultOk or ResultErr.
func (result Result[T, E]) Tag() uint8 { return result.tag }

// IsOk tells whether it is a value.
func (result Result[T, E]) IsOk() bool { return result.tag == ResultOk }

// Ok gives the value; it panics if it is an error.
func (result Result[T, E]) Ok() T {
	if result.tag != ResultOk {
		panic("the value of a result that is an error")
	}
	return result.ok
}

// Err gives the error; it panics if it is a value.
func (result Result[T, E]) Err() E {
	if result.tag != ResultErr {
		panic("the error of a result that is a value")
	}
	return result.err
}
