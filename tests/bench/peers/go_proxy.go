// Go's reverse proxy: the least that a relay which reads no chunk has to do; it keeps its connections
// to the model. usage: go_proxy PORT URL
package main

import (
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
)

func main() {
	model, err := url.Parse(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(model)
	proxy.FlushInterval = -1
	proxy.Transport = &http.Transport{MaxIdleConnsPerHost: 5000}
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], proxy))
}
