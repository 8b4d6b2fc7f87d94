package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/nomad/api"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

// The names that Nomad itself fills in when it runs a task, as ${NOMAD_TASK_DIR}.
var runtime = []string{"NOMAD_SECRETS_DIR", "NOMAD_TASK_DIR", "NOMAD_ALLOC_DIR"}

// readJob reads a file with variables and one job.
func readJob(name string, text []byte, given map[string]string) (map[string]any, error) {
	body, err := parse(name, text)
	if err != nil {
		return nil, err
	}
	variables, err := readVariables(body, given)
	if err != nil {
		return nil, err
	}
	values := map[string]cty.Value{"var": cty.ObjectVal(variables)}
	for _, name := range runtime {
		values[name] = cty.StringVal("${" + name + "}")
	}
	context := &hcl.EvalContext{Variables: values}
	var job map[string]any
	for _, block := range body.Blocks {
		switch {
		case block.Type == "variable":
		case block.Type == "job" && job == nil && len(block.Labels) == 1:
			if job, err = readBlock(block, reflect.TypeFor[api.Job](), context); err != nil {
				return nil, err
			}
			job["id"] = block.Labels[0]
		default:
			return nil, fmt.Errorf("%s: unexpected block %s", block.Range(), block.Type)
		}
	}
	if job == nil {
		return nil, fmt.Errorf("%s: no job", name)
	}
	return job, nil
}

func parse(name string, text []byte) (*hclsyntax.Body, error) {
	file, diagnostics := hclsyntax.ParseConfig(text, name, hcl.InitialPos)
	if diagnostics.HasErrors() {
		return nil, diagnostics
	}
	return file.Body.(*hclsyntax.Body), nil
}

// readVariables gives the value of each variable: a given one, or its default.
func readVariables(body *hclsyntax.Body, given map[string]string) (map[string]cty.Value, error) {
	found := map[string]cty.Value{}
	for _, block := range body.Blocks {
		if block.Type != "variable" || len(block.Labels) != 1 {
			continue
		}
		value, err := readVariable(block, given)
		if err != nil {
			return nil, fmt.Errorf("variable %s: %w", block.Labels[0], err)
		}
		found[block.Labels[0]] = value
	}
	for name := range given {
		if _, ok := found[name]; !ok {
			return nil, fmt.Errorf("there is no variable %s", name)
		}
	}
	return found, nil
}

func readVariable(block *hclsyntax.Block, given map[string]string) (cty.Value, error) {
	for name := range block.Body.Attributes {
		if name != "type" && name != "default" && name != "description" {
			return cty.NilVal, fmt.Errorf("unexpected attribute %s", name)
		}
	}
	kind, diagnostics := typeexpr.TypeConstraint(block.Body.Attributes["type"].Expr)
	if diagnostics.HasErrors() {
		return cty.NilVal, diagnostics
	}
	text, ok := given[block.Labels[0]]
	if ok && kind == cty.String {
		return cty.StringVal(text), nil
	}
	expression := block.Body.Attributes["default"].Expr
	if ok {
		parsed, diagnostics := hclsyntax.ParseExpression([]byte(text), "given", hcl.InitialPos)
		if diagnostics.HasErrors() {
			return cty.NilVal, diagnostics
		}
		expression = parsed
	}
	value, diagnostics := expression.Value(nil)
	if diagnostics.HasErrors() {
		return cty.NilVal, diagnostics
	}
	return convert.Convert(value, kind)
}

// readBlock reads a block as a struct of the API describes it by its tags.
func readBlock(block *hclsyntax.Block, kind reflect.Type, context *hcl.EvalContext) (map[string]any, error) {
	fields := tagged(kind)
	found := map[string]any{}
	for name, attribute := range block.Body.Attributes {
		field, ok := fields[name]
		if !ok {
			return nil, fmt.Errorf("%s: %s has no attribute %s", attribute.Range(), block.Type, name)
		}
		value, err := readValue(attribute.Expr, field, context)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", attribute.Range(), name, err)
		}
		found[name] = value
	}
	for _, inner := range block.Body.Blocks {
		field, ok := fields[inner.Type]
		if !ok {
			return nil, fmt.Errorf("%s: %s has no block %s", inner.Range(), block.Type, inner.Type)
		}
		value, err := readInner(inner, field, context)
		if err != nil {
			return nil, err
		}
		all, _ := found[inner.Type].([]any)
		found[inner.Type] = append(all, value)
	}
	return found, nil
}

func readInner(block *hclsyntax.Block, kind reflect.Type, context *hcl.EvalContext) (any, error) {
	for kind.Kind() == reflect.Pointer || kind.Kind() == reflect.Slice {
		kind = kind.Elem()
	}
	var found map[string]any
	var err error
	if kind.Kind() == reflect.Struct {
		found, err = readBlock(block, kind, context)
	} else {
		found, err = readFree(block, context)
	}
	if err == nil && len(block.Labels) > 0 {
		found["name"] = block.Labels[0]
	}
	return found, err
}

// readFree reads a block whose attributes nobody lists.
func readFree(block *hclsyntax.Block, context *hcl.EvalContext) (map[string]any, error) {
	found := map[string]any{}
	for name, attribute := range block.Body.Attributes {
		value, diagnostics := attribute.Expr.Value(context)
		if diagnostics.HasErrors() {
			return nil, diagnostics
		}
		plain, err := plain(value)
		if err != nil {
			return nil, err
		}
		found[name] = plain
	}
	for _, inner := range block.Body.Blocks {
		value, err := readFree(inner, context)
		if err != nil {
			return nil, err
		}
		all, _ := found[inner.Type].([]any)
		found[inner.Type] = append(all, value)
	}
	return found, nil
}

// readValue evaluates an expression, and checks that the value is of a kind.
func readValue(expression hcl.Expression, kind reflect.Type, context *hcl.EvalContext) (any, error) {
	for kind.Kind() == reflect.Pointer {
		kind = kind.Elem()
	}
	value, diagnostics := expression.Value(context)
	if diagnostics.HasErrors() {
		return nil, diagnostics
	}
	wanted := cty.DynamicPseudoType
	switch {
	case kind == reflect.TypeFor[time.Duration]():
		if _, err := time.ParseDuration(value.AsString()); err != nil {
			return nil, err
		}
	case kind.Kind() == reflect.String:
		wanted = cty.String
	case kind.Kind() == reflect.Bool:
		wanted = cty.Bool
	case kind.Kind() >= reflect.Int && kind.Kind() <= reflect.Float64:
		wanted = cty.Number
	case kind.Kind() == reflect.Slice:
		wanted = cty.List(cty.String)
	}
	value, err := convert.Convert(value, wanted)
	if err != nil {
		return nil, err
	}
	return plain(value)
}

// tagged gives the types of the fields of a struct by their names in HCL.
func tagged(kind reflect.Type) map[string]reflect.Type {
	found := map[string]reflect.Type{}
	for index := range kind.NumField() {
		name, _, _ := strings.Cut(kind.Field(index).Tag.Get("hcl"), ",")
		if name != "" {
			found[name] = kind.Field(index).Type
		}
	}
	return found
}

func plain(value cty.Value) (any, error) {
	text, err := ctyjson.Marshal(value, value.Type())
	if err != nil {
		return nil, err
	}
	var found any
	err = json.Unmarshal(text, &found)
	return found, err
}
