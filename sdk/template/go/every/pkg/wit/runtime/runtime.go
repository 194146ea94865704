// Package runtime lends memory to the host: what it passes in lies there, and what goes out as well. Knows nothing of
// what is in it.
//
// The generated bindings ask for it under the path go.bytecodealliance.org/pkg/wit/runtime; it stands here so that a
// build needs no network. go.mod leads there.
package runtime

import (
	"runtime"
	"unsafe"
)

// What the host was lent since the last Unpin. Pinned, because nothing of Go's points to it yet.
var lent runtime.Pinner

// Unpin is called once the bindings have made Go values of all that the host passed in: a question has come.
func Unpin() {
	lent.Unpin()
	yield()
}

// What wraps the module asks the host for the time when the program yields, and remembers it: while the host waits for
// memory (realloc, below), it may not be called, and Go looks at its clock wherever its heap grows.
//
//go:wasmimport wasi_snapshot_preview1 sched_yield
func yield() uint32

// Allocate gives memory of so many bytes, which stays as long as the pinner holds it.
func Allocate(pinner *runtime.Pinner, size, align uintptr) unsafe.Pointer {
	if size == 0 {
		return unsafe.Pointer(align)
	}
	// Words of eight bytes: nothing that crosses wants a wider alignment.
	words := make([]uint64, (size+7)/8)
	pointer := unsafe.Pointer(unsafe.SliceData(words))
	pinner.Pin(pointer)
	return pointer
}

//go:wasmexport cabi_realloc
func realloc(old unsafe.Pointer, oldSize, align, size uintptr) unsafe.Pointer {
	if old != nil && size <= oldSize {
		return old
	}
	grown := Allocate(&lent, size, align)
	if old != nil {
		copy(unsafe.Slice((*byte)(grown), size), unsafe.Slice((*byte)(old), oldSize))
	}
	return grown
}
