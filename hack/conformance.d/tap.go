// Package tap writes results in the Test Anything Protocol, version 13. The validation suite imports it under the name of
// a package that Debian does not have; it offers what the suite calls and nothing else.
package tap

import (
	"encoding/json"
	"fmt"
	"strings"
)

// T counts the results of one program.
type T struct {
	count int
	todo  bool
}

// New begins with nothing; every program calls Header before its first result.
func New() *T { return &T{} }

// Header announces the version, and the number of results where it is known.
func (t *T) Header(planned int) {
	fmt.Println("TAP version 13")
	if planned > 0 {
		fmt.Printf("1..%d\n", planned)
	}
}

// AutoPlan says at the end how many results there were.
func (t *T) AutoPlan() { fmt.Printf("1..%d\n", t.count) }

// Ok is a result.
func (t *T) Ok(passed bool, what string) {
	word := "ok"
	if !passed {
		word = "not ok"
	}
	t.result(word, what)
}

// Pass is a good result.
func (t *T) Pass(what string) { t.Ok(true, what) }

// Fail is a bad one.
func (t *T) Fail(what string) { t.Ok(false, what) }

// Skip stands for results that there cannot be here.
func (t *T) Skip(count int, why string) {
	for ; count > 0; count-- {
		t.count++
		fmt.Printf("ok %d # SKIP %s\n", t.count, why)
	}
}

// Todo makes a value whose next result is about something that is not expected to work yet.
func (t *T) Todo() *Expected { return &Expected{t} }

// Expected is the value that Todo makes.
type Expected struct{ t *T }

// Ok is a result that may be bad.
func (e *Expected) Ok(passed bool, what string) {
	e.t.todo = true
	e.t.Ok(passed, what)
	e.t.todo = false
}

// Pass is a good result.
func (e *Expected) Pass(what string) { e.Ok(true, what) }

// Fail is a bad one.
func (e *Expected) Fail(what string) { e.Ok(false, what) }

// Diagnostic is for people.
func (t *T) Diagnostic(text string) {
	for _, line := range strings.Split(text, "\n") {
		fmt.Println("# " + line)
	}
}

// Diagnosticf is Diagnostic with a format.
func (t *T) Diagnosticf(format string, values ...interface{}) {
	t.Diagnostic(fmt.Sprintf(format, values...))
}

// YAML is the block that belongs to the last result. JSON is YAML.
func (t *T) YAML(value interface{}) error {
	text, err := json.MarshalIndent(value, "  ", "  ")
	if err != nil {
		return err
	}
	fmt.Printf("  ---\n  %s\n  ...\n", text)
	return nil
}

func (t *T) result(word, what string) {
	t.count++
	directive := ""
	if t.todo {
		directive = " # TODO"
	}
	fmt.Printf("%s %d - %s%s\n", word, t.count, what, directive)
}
