// Package tap writes results in the Test Anything Protocol, version 13. The validation suite imports it under the name of
// a package that Debian does not have. It has only the functions that the suite calls.
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

// New makes a T without results. Every program calls Header before its first result.
func New() *T { return &T{} }

// Header prints the version, and the number of results if it is known.
func (t *T) Header(planned int) {
	fmt.Println("TAP version 13")
	if planned > 0 {
		fmt.Printf("1..%d\n", planned)
	}
}

// AutoPlan prints the number of results at the end.
func (t *T) AutoPlan() { fmt.Printf("1..%d\n", t.count) }

// Ok prints a result.
func (t *T) Ok(passed bool, what string) {
	word := "ok"
	if !passed {
		word = "not ok"
	}
	t.result(word, what)
}

// Pass prints a good result.
func (t *T) Pass(what string) { t.Ok(true, what) }

// Fail prints a bad result.
func (t *T) Fail(what string) { t.Ok(false, what) }

// Skip prints results of checks that are not possible here.
func (t *T) Skip(count int, why string) {
	for ; count > 0; count-- {
		t.count++
		fmt.Printf("ok %d # SKIP %s\n", t.count, why)
	}
}

// Todo makes a value whose results are not expected to be good yet.
func (t *T) Todo() *Expected { return &Expected{t} }

// Expected is the value that Todo makes.
type Expected struct{ t *T }

// Ok prints a result that may be bad.
func (e *Expected) Ok(passed bool, what string) {
	e.t.todo = true
	e.t.Ok(passed, what)
	e.t.todo = false
}

// Pass prints a good result.
func (e *Expected) Pass(what string) { e.Ok(true, what) }

// Fail prints a bad result.
func (e *Expected) Fail(what string) { e.Ok(false, what) }

// Diagnostic prints a comment for people.
func (t *T) Diagnostic(text string) {
	for _, line := range strings.Split(text, "\n") {
		fmt.Println("# " + line)
	}
}

// Diagnosticf is Diagnostic with a format.
func (t *T) Diagnosticf(format string, values ...interface{}) {
	t.Diagnostic(fmt.Sprintf(format, values...))
}

// YAML prints the block of the last result, as JSON, which is YAML, too.
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
