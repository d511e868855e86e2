// A client of the Container Runtime Interface with crictl's commands. README.md says why it exists.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/gogo/protobuf/jsonpb"
	"github.com/gogo/protobuf/proto"
	"google.golang.org/grpc"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// The time limit of a call. It is long because a guest of the lab is slow.
const limit = 100 * time.Second

// client is one connection with the time limit of one command.
type client struct {
	cri.RuntimeServiceClient
	images cri.ImageServiceClient
	ctx    context.Context
}

// exit ends the command with the exit code of the process that it started.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func main() {
	endpoint := flag.String("runtime-endpoint", "unix:///run/containerd/containerd.sock", "where the runtime listens")
	flag.Parse()
	verb := verbs[flag.Arg(0)]
	if verb == nil {
		fmt.Fprintln(os.Stderr, "cri: no such command:", flag.Arg(0))
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	connection, err := grpc.DialContext(ctx, *endpoint, grpc.WithInsecure(), grpc.WithBlock())
	if err == nil {
		c := &client{cri.NewRuntimeServiceClient(connection), cri.NewImageServiceClient(connection), ctx}
		err = verb(c, flag.Args()[1:])
	}
	switch failed := err.(type) {
	case nil:
	case exit:
		os.Exit(int(failed))
	default:
		fmt.Fprintln(os.Stderr, "cri:", flag.Arg(0)+":", err)
		os.Exit(1)
	}
}

// parse reads a command's own flags; there must be as many words after them as are named, or more with an ellipsis.
func parse(words []string, flags *flag.FlagSet, names ...string) ([]string, error) {
	if err := flags.Parse(words); err != nil {
		return nil, err
	}
	more := len(names) > 0 && names[len(names)-1] == "..."
	if n := flags.NArg(); (more && n < len(names)-1) || (!more && n != len(names)) {
		return nil, fmt.Errorf("wanted %v, not %q", names, flags.Args())
	}
	return flags.Args(), nil
}

func noFlags() *flag.FlagSet { return flag.NewFlagSet("", flag.ContinueOnError) }

// load reads a configuration as crictl does: JSON with the names of the API's fields, enumerations as numbers.
func load(path string, into interface{}) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	decoder := json.NewDecoder(file)
	// Unlike crictl, refuse an unknown field: a misspelled field would make a test that tests nothing.
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}

// show prints an answer as `crictl -o json` does.
func show(answer proto.Message, err error) error {
	if err != nil {
		return err
	}
	marshaler := jsonpb.Marshaler{EmitDefaults: true, Indent: "  "}
	text, err := marshaler.MarshalToString(answer)
	fmt.Println(text)
	return err
}

// showStatus prints a status, and the additional JSON of the runtime.
func showStatus(status proto.Message, info map[string]string) error {
	marshaler := jsonpb.Marshaler{EmitDefaults: true}
	text, err := marshaler.MarshalToString(status)
	if err != nil {
		return err
	}
	both := map[string]json.RawMessage{"status": json.RawMessage(text)}
	for name, value := range info {
		if json.Valid([]byte(value)) {
			both[name] = json.RawMessage(value)
		}
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(both)
}
