// yamltojson turns one YAML document on standard input into JSON with the library that kubectl uses.
package main

import (
	"fmt"
	"io"
	"os"

	"sigs.k8s.io/yaml"
)

func main() {
	in, err := io.ReadAll(os.Stdin)
	if err == nil {
		in, err = yaml.YAMLToJSON(in)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(string(in))
}
