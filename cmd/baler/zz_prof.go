package main

import (
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
)

func init() {
	path := os.Getenv("BALER_PROF")
	if path == "" {
		return
	}
	f, err := os.Create(path)
	if err != nil {
		panic(err)
	}
	_ = pprof.StartCPUProfile(f)
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM)
	go func() {
		<-c
		pprof.StopCPUProfile()
		_ = f.Close()
		a, _ := os.Create(path + ".heap")
		_ = pprof.Lookup("allocs").WriteTo(a, 0)
		_ = a.Close()
	}()
}
