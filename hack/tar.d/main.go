// Lists tars as Go's archive/tar reads them, which reads the layers of images for Docker, containerd and podman.
//
// Each input is a length, four bytes with the lowest first, and as many bytes of a tar. The answer has a line for each entry,
// with names and values in hexadecimal digits, and then "end", or "error" with the reason. crates/image/tests/beside_go.rs
// compares the lines with those of sharedroot's reader.
//
// With the argument "json" an input is the text of an index, a manifest or a configuration. The answer has a line for what Go's
// encoding/json reads of it as one of the first two, and a line for what it reads as the last, or "refused".
package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"sort"
	"strings"
)

// A longer file's content is not read: it may be holes.
const longest = 4 << 20

func main() {
	in, out := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	for {
		var length uint32
		if err := binary.Read(in, binary.LittleEndian, &length); err == io.EOF {
			return
		} else if err != nil {
			log.Fatal(err)
		}
		input := make([]byte, length)
		if _, err := io.ReadFull(in, input); err != nil {
			log.Fatal(err)
		}
		if len(os.Args) > 1 && os.Args[1] == "json" {
			documents(input, out)
		} else if err := list(input, out); err != nil {
			fmt.Fprintf(out, "error %q\n", err)
		} else {
			fmt.Fprintln(out, "end")
		}
		if err := out.Flush(); err != nil {
			log.Fatal(err)
		}
	}
}

func list(input []byte, out io.Writer) error {
	// An engine reads a layer from a pipe, which cannot seek.
	reader := tar.NewReader(struct{ io.Reader }{bytes.NewReader(input)})
	for {
		header, err := reader.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		// Engines pass over it.
		if header.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		line, err := describe(header, reader)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, line)
	}
}

func describe(header *tar.Header, content io.Reader) (string, error) {
	kind, link, device, size, digest := string(header.Typeflag), "", "", int64(0), ""
	switch header.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		kind, size = "file", header.Size
		if size <= longest {
			sum := sha256.New()
			if _, err := io.Copy(sum, content); err != nil {
				return "", err
			}
			digest = fmt.Sprintf("%x", sum.Sum(nil))
		}
	case tar.TypeLink, tar.TypeSymlink:
		link = header.Linkname
	case tar.TypeChar, tar.TypeBlock:
		device = fmt.Sprintf("%d:%d", header.Devmajor, header.Devminor)
	}
	attributes := []string{}
	for key, value := range header.PAXRecords {
		if name := strings.TrimPrefix(key, "SCHILY.xattr."); name != key {
			attributes = append(attributes, fmt.Sprintf("%x=%x", name, value))
		}
	}
	sort.Strings(attributes)
	time := header.ModTime
	return fmt.Sprintf("%s name=%x link=%x device=%s mode=%o owner=%d:%d time=%d.%d size=%d content=%s attributes=%s", kind,
		header.Name, link, device, header.Mode&07777, header.Uid, header.Gid, time.Unix(), time.Nanosecond(), size, digest,
		strings.Join(attributes, ",")), nil
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations"`
	Platform    *struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
		Variant      string `json:"variant"`
	} `json:"platform"`
}

type document struct {
	MediaType string       `json:"mediaType"`
	Manifests []descriptor `json:"manifests"`
	Config    *descriptor  `json:"config"`
	Layers    []descriptor `json:"layers"`
}

type configuration struct {
	RootFS *struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

func documents(input []byte, out io.Writer) {
	for _, read := range []any{&document{}, &configuration{}} {
		text := []byte("refused")
		if err := json.Unmarshal(input, read); err == nil {
			text, _ = json.Marshal(read)
		}
		fmt.Fprintf(out, "%s\n", text)
	}
}
