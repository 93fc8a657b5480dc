// A control plane for tests: go-control-plane's server and snapshot cache, driven over HTTP on a Unix socket.
// test/support/control_plane.py starts and drives it; that file says what can be asked of it.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	control := flag.String("control", "", "path of the Unix socket to be driven by")
	listen := flag.String("listen", "", "where proxies connect: IP:PORT, or unix:PATH")
	ads := flag.Bool("ads", false, "as a control plane for ADS alone: a response waits until a request names all that the snapshot has of its type, and types go out in order")
	cert := flag.String("cert", "", "serve over TLS with this certificate chain; it and -key are read again for each connection")
	key := flag.String("key", "", "its private key")
	clientCA := flag.String("client-ca", "", "want a client certificate of this CA (mTLS)")
	flag.Parse()
	if *control == "" || *listen == "" {
		log.Fatal("both -control and -listen are needed")
	}
	plane := newPlane(*listen, *ads)
	if *cert != "" {
		plane.tls = &tls.Config{NextProtos: []string{"h2"}, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(*cert, *key)
			return &pair, err
		}}
	}
	if *clientCA != "" {
		pem, err := os.ReadFile(*clientCA)
		if err != nil {
			log.Fatal(err)
		}
		plane.tls.ClientCAs = x509.NewCertPool()
		if !plane.tls.ClientCAs.AppendCertsFromPEM(pem) {
			log.Fatalf("%s: no certificates", *clientCA)
		}
		plane.tls.ClientAuth = tls.RequireAndVerifyClientCert
	}
	if err := plane.up(); err != nil {
		log.Fatal(err)
	}
	socket, err := net.Listen("unix", *control)
	if err != nil {
		log.Fatal(err)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-stop
		os.Remove(*control)
		os.Exit(0)
	}()
	log.Fatal(http.Serve(socket, plane.handler()))
}
