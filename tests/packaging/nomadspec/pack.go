package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
)

// readPack renders a pack as Nomad Pack does: [[ ]] as delimiters, the functions of sprig, and var and meta; here a name
// that there is not is an error, as with must_var and must_meta.
func readPack(directory string, given map[string]string) (map[string]any, error) {
	variables, err := readPackVariables(filepath.Join(directory, "variables.hcl"), given)
	if err != nil {
		return nil, err
	}
	metadata, err := readMetadata(filepath.Join(directory, "metadata.hcl"))
	if err != nil {
		return nil, err
	}
	templates := template.New("pack").Delims("[[", "]]").Option("missingkey=error").Funcs(sprig.TxtFuncMap())
	templates.Funcs(template.FuncMap{
		"var":  func(name string, _ any) (any, error) { return lookUp(variables, name) },
		"meta": func(name string, _ any) (any, error) { return lookUp(metadata, name) },
	})
	for _, pattern := range []string{"templates/*.tpl", "outputs.tpl"} {
		if _, err := templates.ParseGlob(filepath.Join(directory, pattern)); err != nil {
			return nil, err
		}
	}
	found := map[string]any{}
	for _, each := range templates.Templates() {
		name := each.Name()
		if !strings.HasSuffix(name, ".nomad.tpl") && name != "outputs.tpl" {
			continue
		}
		var text strings.Builder
		if err := each.Execute(&text, nil); err != nil {
			return nil, err
		}
		if name == "outputs.tpl" {
			found[name] = text.String()
			continue
		}
		job, err := readJob(name, []byte(text.String()), nil)
		if err != nil {
			return nil, fmt.Errorf("%w in\n%s", err, text.String())
		}
		found[name] = job
	}
	return found, nil
}

func readPackVariables(path string, given map[string]string) (map[string]any, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	body, err := parse(filepath.Base(path), text)
	if err != nil {
		return nil, err
	}
	values, err := readVariables(body, given)
	if err != nil {
		return nil, err
	}
	found := map[string]any{}
	for name, value := range values {
		if found[name], err = plain(value); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// readMetadata reads the blocks app and pack.
func readMetadata(path string) (map[string]any, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	body, err := parse(filepath.Base(path), text)
	if err != nil {
		return nil, err
	}
	known := map[string][]string{"app": {"url", "author"}, "pack": {"name", "description", "url", "version"}}
	found := map[string]any{}
	for _, block := range body.Blocks {
		values, err := readFree(block, nil)
		if err != nil {
			return nil, err
		}
		for name := range maps.Keys(values) {
			if !slices.Contains(known[block.Type], name) {
				return nil, fmt.Errorf("%s: %s has no %s", path, block.Type, name)
			}
		}
		found[block.Type] = values
	}
	return found, nil
}

func lookUp(values map[string]any, name string) (any, error) {
	var found any = values
	for _, part := range strings.Split(name, ".") {
		inner, ok := found.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s is no object", name)
		}
		if found, ok = inner[part]; !ok {
			return nil, fmt.Errorf("there is no %s", name)
		}
	}
	return found, nil
}
