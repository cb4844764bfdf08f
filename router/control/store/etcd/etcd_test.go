package etcd_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/taprouter/taprouter/router/control/store"
	"github.com/taprouter/taprouter/router/control/store/etcd"
	"github.com/taprouter/taprouter/router/control/store/storetest"
)

// TestEtcd holds the store to what every store does, on Debian's etcd-server.
func TestEtcd(t *testing.T) {
	program, err := exec.LookPath("etcd")
	if err != nil {
		t.Skip("etcd is not installed: Debian's package is etcd-server")
	}
	storetest.Suite{
		Open:  func(t *testing.T, folder string) store.Store { return startServer(t, program, folder) },
		Keeps: true, Real: true, TTL: 2 * time.Second,
	}.Run(t)
}

// A server is a store with a cluster of its own.
type server struct {
	store.Store
	client *clientv3.Client
	cmd    *exec.Cmd
}

// startServer runs a cluster of one server, which listens on loopback. Its short elections make it serve at once.
func startServer(t *testing.T, program, folder string) store.Store {
	t.Helper()
	client, peer := freeURL(t), freeURL(t)
	log, err := os.OpenFile(filepath.Join(folder, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program, "--data-dir", filepath.Join(folder, "data"),
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer,
		"--heartbeat-interval", "10", "--election-timeout", "100")
	cmd.Stdout, cmd.Stderr = io.Writer(log), io.Writer(log)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{client}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := c.Get(ctx, "ready"); err != nil {
		text, _ := os.ReadFile(log.Name())
		t.Fatalf("the server does not serve: %v\n%s", err, text)
	}
	return &server{etcd.New(c), c, cmd}
}

// freeURL is an address that nothing listens on now.
func freeURL(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprintf("http://%v", l.Addr())
}

// Close ends the store, and its server with it.
func (s *server) Close() error {
	err := s.Store.Close()
	if err != nil {
		return err
	}
	_ = s.client.Close()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait() // the status of a server that was told to end says nothing
	return nil
}
