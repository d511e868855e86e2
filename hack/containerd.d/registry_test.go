package client

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// Before each test of this package: a registry at localhost with the one image of the OCI layout that TEST_IMAGE_LAYOUT names,
// because a guest of the lab has no network.
func init() {
	layout := os.Getenv("TEST_IMAGE_LAYOUT")
	listener, err := net.Listen("tcp", "localhost:5000")
	if err != nil {
		panic(err)
	}
	testImage = "localhost:5000/busybox:1.36"
	blob := func(digest string) string {
		return filepath.Join(layout, "blobs/sha256", filepath.Base(strings.TrimPrefix(digest, "sha256:")))
	}
	serve := func(answer http.ResponseWriter, request *http.Request) {
		path := strings.Split(request.URL.Path, "/")
		kind, name := path[len(path)-2], path[len(path)-1]
		if kind == "blobs" {
			http.ServeFile(answer, request, blob(name))
			return
		}
		var index struct{ Manifests []struct{ Digest, MediaType string } }
		text, err := os.ReadFile(filepath.Join(layout, "index.json"))
		if err == nil {
			err = json.Unmarshal(text, &index)
		}
		if err != nil || kind != "manifests" || len(index.Manifests) != 1 {
			http.Error(answer, "there is one image here", http.StatusNotFound)
			return
		}
		image := index.Manifests[0]
		answer.Header().Set("Content-Type", image.MediaType)
		answer.Header().Set("Docker-Content-Digest", image.Digest)
		http.ServeFile(answer, request, blob(image.Digest))
	}
	go http.Serve(listener, http.HandlerFunc(serve))
}
