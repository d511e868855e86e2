package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Each command is one call. exec and logs handle the answer as crictl does.
var verbs = map[string]func(*client, []string) error{
	"version": func(c *client, words []string) error {
		return show(c.Version(c.ctx, &cri.VersionRequest{}))
	},
	"info": func(c *client, words []string) error {
		answer, err := c.Status(c.ctx, &cri.StatusRequest{Verbose: true})
		if err != nil {
			return err
		}
		return showStatus(answer.Status, answer.Info)
	},
	"images": func(c *client, words []string) error {
		return show(c.images.ListImages(c.ctx, &cri.ListImagesRequest{}))
	},
	"imagefsinfo": func(c *client, words []string) error {
		return show(c.images.ImageFsInfo(c.ctx, &cri.ImageFsInfoRequest{}))
	},
	"rmi": each(func(c *client, id string) error {
		_, err := c.images.RemoveImage(c.ctx, &cri.RemoveImageRequest{Image: &cri.ImageSpec{Image: id}})
		return err
	}),

	"runp": runPod,
	"pods": func(c *client, words []string) error {
		return show(c.ListPodSandbox(c.ctx, &cri.ListPodSandboxRequest{}))
	},
	"inspectp": each(func(c *client, id string) error {
		answer, err := c.PodSandboxStatus(c.ctx, &cri.PodSandboxStatusRequest{PodSandboxId: id, Verbose: true})
		if err != nil {
			return err
		}
		return showStatus(answer.Status, answer.Info)
	}),
	"statsp": each(func(c *client, id string) error {
		return show(c.PodSandboxStats(c.ctx, &cri.PodSandboxStatsRequest{PodSandboxId: id}))
	}),
	"stopp": each(func(c *client, id string) error {
		_, err := c.StopPodSandbox(c.ctx, &cri.StopPodSandboxRequest{PodSandboxId: id})
		return err
	}),
	"rmp": each(func(c *client, id string) error {
		_, err := c.RemovePodSandbox(c.ctx, &cri.RemovePodSandboxRequest{PodSandboxId: id})
		return err
	}),

	"create": create,
	"start": each(func(c *client, id string) error {
		_, err := c.StartContainer(c.ctx, &cri.StartContainerRequest{ContainerId: id})
		return err
	}),
	"ps": func(c *client, words []string) error {
		return show(c.ListContainers(c.ctx, &cri.ListContainersRequest{}))
	},
	"inspect": each(func(c *client, id string) error {
		answer, err := c.ContainerStatus(c.ctx, &cri.ContainerStatusRequest{ContainerId: id, Verbose: true})
		if err != nil {
			return err
		}
		return showStatus(answer.Status, answer.Info)
	}),
	"stats": each(func(c *client, id string) error {
		return show(c.ContainerStats(c.ctx, &cri.ContainerStatsRequest{ContainerId: id}))
	}),
	"logs":   each(logs),
	"exec":   execSync,
	"update": update,
	"stop":   stop,
	"rm": each(func(c *client, id string) error {
		_, err := c.RemoveContainer(c.ctx, &cri.RemoveContainerRequest{ContainerId: id})
		return err
	}),
}

// each is a command with IDs and without flags.
func each(call func(*client, string) error) func(*client, []string) error {
	return func(c *client, words []string) error {
		ids, err := parse(words, noFlags(), "ID", "...")
		for i := 0; err == nil && i < len(ids); i++ {
			err = call(c, ids[i])
		}
		return err
	}
}

func runPod(c *client, words []string) error {
	flags := noFlags()
	handler := flags.String("runtime", "", "the runtime handler")
	words, err := parse(words, flags, "POD-CONFIG")
	if err != nil {
		return err
	}
	request := &cri.RunPodSandboxRequest{Config: &cri.PodSandboxConfig{}, RuntimeHandler: *handler}
	if err := load(words[0], request.Config); err != nil {
		return err
	}
	answer, err := c.RunPodSandbox(c.ctx, request)
	if err == nil {
		fmt.Println(answer.PodSandboxId)
	}
	return err
}

func create(c *client, words []string) error {
	words, err := parse(words, noFlags(), "POD", "CONTAINER-CONFIG", "POD-CONFIG")
	if err != nil {
		return err
	}
	request := &cri.CreateContainerRequest{
		PodSandboxId: words[0], Config: &cri.ContainerConfig{}, SandboxConfig: &cri.PodSandboxConfig{},
	}
	if err := load(words[1], request.Config); err != nil {
		return err
	}
	if err := load(words[2], request.SandboxConfig); err != nil {
		return err
	}
	answer, err := c.CreateContainer(c.ctx, request)
	if err == nil {
		fmt.Println(answer.ContainerId)
	}
	return err
}

// execSync is `crictl exec -s`. This client does not have the stream over HTTP that kubectl's exec uses.
func execSync(c *client, words []string) error {
	flags := noFlags()
	sync := flags.Bool("s", false, "run the command synchronously")
	timeout := flags.Int64("timeout", 0, "seconds, 0 for no limit")
	words, err := parse(words, flags, "CONTAINER", "COMMAND", "...")
	if err != nil {
		return err
	}
	if !*sync {
		return fmt.Errorf("only with -s")
	}
	answer, err := c.ExecSync(c.ctx, &cri.ExecSyncRequest{ContainerId: words[0], Cmd: words[1:], Timeout: *timeout})
	if err != nil {
		return err
	}
	os.Stdout.Write(answer.Stdout)
	os.Stderr.Write(answer.Stderr)
	if answer.ExitCode != 0 {
		return exit(answer.ExitCode)
	}
	return nil
}

func update(c *client, words []string) error {
	flags, linux := noFlags(), &cri.LinuxContainerResources{}
	flags.Int64Var(&linux.CpuPeriod, "cpu-period", 0, "microseconds")
	flags.Int64Var(&linux.CpuQuota, "cpu-quota", 0, "microseconds")
	flags.Int64Var(&linux.CpuShares, "cpu-share", 0, "relative weight")
	flags.Int64Var(&linux.MemoryLimitInBytes, "memory", 0, "bytes")
	words, err := parse(words, flags, "CONTAINER")
	if err == nil {
		_, err = c.UpdateContainerResources(c.ctx, &cri.UpdateContainerResourcesRequest{ContainerId: words[0], Linux: linux})
	}
	return err
}

func stop(c *client, words []string) error {
	flags := noFlags()
	timeout := flags.Int64("timeout", 0, "seconds until it is killed")
	words, err := parse(words, flags, "CONTAINER")
	if err == nil {
		_, err = c.StopContainer(c.ctx, &cri.StopContainerRequest{ContainerId: words[0], Timeout: *timeout})
	}
	return err
}

// logs prints the container's log file: "TIME STREAM TAG TEXT" a line, where the tag F ends a line of the container.
func logs(c *client, id string) error {
	answer, err := c.ContainerStatus(c.ctx, &cri.ContainerStatusRequest{ContainerId: id})
	if err != nil {
		return err
	}
	file, err := os.Open(answer.Status.LogPath)
	if err != nil {
		return err
	}
	defer file.Close()
	streams := map[string]*os.File{"stdout": os.Stdout, "stderr": os.Stderr}
	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		parts := strings.SplitN(scanner.Text(), " ", 4)
		if len(parts) != 4 || streams[parts[1]] == nil {
			return fmt.Errorf("no line of a container's log: %q", scanner.Text())
		}
		text := parts[3]
		if parts[2] == "F" {
			text += "\n"
		}
		fmt.Fprint(streams[parts[1]], text)
	}
	return scanner.Err()
}
