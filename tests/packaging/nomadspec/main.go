// nomadspec reads jobs of Nomad and packs of Nomad Pack as these do, and prints the jobs as JSON.
//
//	nomadspec job FILE [NAME=VALUE...]   a job, with variables
//	nomadspec pack DIR [NAME=VALUE...]   all templates of a pack, rendered with variables, each read as a job
//
// The types of Nomad's own API say which blocks and attributes there are; any other is an error. What the API does not
// type, such as the configuration of a driver, is taken as it is.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	result, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(result); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) (any, error) {
	if len(arguments) < 2 {
		return nil, fmt.Errorf("usage: nomadspec job|pack PATH [NAME=VALUE...]")
	}
	given := map[string]string{}
	for _, argument := range arguments[2:] {
		name, value, found := strings.Cut(argument, "=")
		if !found {
			return nil, fmt.Errorf("%q is not NAME=VALUE", argument)
		}
		given[name] = value
	}
	switch arguments[0] {
	case "job":
		text, err := os.ReadFile(arguments[1])
		if err != nil {
			return nil, err
		}
		return readJob(filepath.Base(arguments[1]), text, given)
	case "pack":
		return readPack(arguments[1], given)
	}
	return nil, fmt.Errorf("job or pack, not %q", arguments[0])
}
