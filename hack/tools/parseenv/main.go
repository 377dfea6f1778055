// parseenv reads one variable out of an env file exactly as kubelet does for valueFrom.fileKeyRef.
//
//	parseenv FILE KEY    prints the value; exits 1 with kubelet's own message when it cannot
package main

import (
	"fmt"
	"os"

	"k8s.io/kubernetes/pkg/kubelet/util/env"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: parseenv FILE KEY")
		os.Exit(2)
	}
	value, err := env.ParseEnv(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Print(value)
}
