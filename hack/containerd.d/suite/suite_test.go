// containerd's own tests of a snapshotter, through its proxy and a unix socket: the snapshotter at SNAPSHOTTER_SOCKET, or, with
// REFERENCE=native, containerd's own native snapshotter, which shows that the tests and the way to them are right.
package suite

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	api "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/contrib/snapshotservice"
	"github.com/containerd/containerd/snapshots"
	"github.com/containerd/containerd/snapshots/native"
	"github.com/containerd/containerd/snapshots/proxy"
	"github.com/containerd/containerd/snapshots/testsuite"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Each test wants a snapshotter without snapshots, so each has a name of its own for it.
var count atomic.Int64

func connect(address string) (api.SnapshotsClient, func() error, error) {
	connection, err := grpc.Dial("unix://"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, nil, err
	}
	return api.NewSnapshotsClient(connection), connection.Close, nil
}

// serveNative serves containerd's native snapshotter below root, and returns its address.
func serveNative(root string) (string, func(), error) {
	snapshotter, err := native.NewSnapshotter(root)
	if err != nil {
		return "", nil, err
	}
	address := filepath.Join(root, "socket")
	listener, err := net.Listen("unix", address)
	if err != nil {
		return "", nil, err
	}
	server := grpc.NewServer()
	api.RegisterSnapshotsServer(server, snapshotservice.FromSnapshotter(snapshotter))
	go server.Serve(listener)
	return address, server.Stop, nil
}

func TestSnapshotter(t *testing.T) {
	address, reference := os.Getenv("SNAPSHOTTER_SOCKET"), os.Getenv("REFERENCE")
	if (address == "") == (reference == "") || (reference != "" && reference != "native") {
		t.Fatal("give SNAPSHOTTER_SOCKET, or REFERENCE=native")
	}
	make := func(ctx context.Context, root string) (snapshots.Snapshotter, func() error, error) {
		at, stop := address, func() {}
		if reference != "" {
			var err error
			if at, stop, err = serveNative(root); err != nil {
				return nil, nil, err
			}
		}
		client, disconnect, err := connect(at)
		if err != nil {
			return nil, nil, err
		}
		name := fmt.Sprintf("suite-%d-%d", os.Getpid(), count.Add(1))
		snapshotter := proxy.NewSnapshotter(client, name)
		return snapshotter, func() error {
			err := snapshotter.Close()
			disconnect()
			stop()
			return err
		}, nil
	}
	testsuite.SnapshotterSuite(t, "sharedroot", make)
}
