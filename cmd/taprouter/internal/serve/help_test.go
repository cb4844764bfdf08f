package serve

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
)

func bufioReader(r io.Reader) *bufio.Reader { return bufio.NewReader(r) }

// whoAmI is what the log says of this process where the system tells who is at the other end of a socket.
func whoAmI() []string {
	if runtime.GOOS != "linux" {
		return nil
	}
	return []string{fmt.Sprintf("uid=%d pid=%d", os.Geteuid(), os.Getpid())}
}
