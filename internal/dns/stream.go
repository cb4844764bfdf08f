package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// A stream sends and receives messages over a connection: over TCP each behind its length (RFC 1035, 4.2.2).
type stream struct {
	net.Conn
	tcp bool
}

func (s stream) write(b []byte) error {
	if s.tcp {
		b = append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
	}
	_, err := s.Write(b)
	return err
}

func (s stream) read() ([]byte, error) {
	if !s.tcp {
		b := make([]byte, dns.MaxMsgSize)
		n, err := s.Read(b)
		return b[:n], err
	}
	return ReadMessage(s.Conn)
}

// ReadMessage reads a message that has come over TCP: two bytes of its length, then the message (RFC 1035, 4.2.2).
func ReadMessage(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(r, b); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return b, nil
}

// AppendMessage appends a message to b as TCP carries it, behind its length.
func AppendMessage(b, message []byte) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(message))), message...)
}

const (
	// idle is how long a connection may wait for its next message (RFC 7766, 6.2.3).
	idle = 10 * time.Second
	// most is how many messages a connection may carry.
	most = 1000
)

// ServeConn answers the messages of a TCP connection, one after the other, until the asker ends it, is silent for ten
// seconds, or has sent a thousand. It closes the connection. from is the asker's address.
func (s *Server) ServeConn(ctx context.Context, conn net.Conn, from netip.Addr, v View) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	for range most {
		if conn.SetDeadline(time.Now().Add(idle)) != nil {
			return
		}
		m, err := ReadMessage(conn)
		if err != nil {
			return
		}
		out := s.Serve(ctx, Query{Message: m, TCP: true, From: from}, v)
		if out == nil || conn.SetDeadline(time.Now().Add(idle)) != nil {
			return
		}
		if _, err := conn.Write(AppendMessage(nil, out)); err != nil {
			return
		}
	}
}
