package native

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
)

// document is the OpenAPI document of the routes.
func document(version string) []byte {
	s := schemas{}
	paths := map[string]map[string]any{}
	for i := range routes {
		rt := &routes[i]
		if paths[Base+rt.path] == nil {
			paths[Base+rt.path] = map[string]any{}
		}
		paths[Base+rt.path][strings.ToLower(rt.method)] = s.operation(rt)
	}
	if version == "" {
		version = "devel"
	}
	doc := map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{"title": "taprouter", "version": version,
			"description": "What a running taprouter does, and what it is to do. Durations are in seconds."},
		"servers":    []any{map[string]any{"url": "/"}},
		"paths":      paths,
		"components": map[string]any{"schemas": s},
	}
	text, err := json.MarshalIndent(doc, "", " ")
	if err != nil {
		panic("native: the OpenAPI document cannot be written: " + err.Error())
	}
	return append(text, '\n')
}

// schemas are the schemas of named types.
type schemas map[string]any

func (s schemas) operation(rt *route) map[string]any {
	op := map[string]any{"operationId": rt.id, "summary": rt.summary}
	var params []any
	add := func(in string, all []param) {
		for _, p := range all {
			params = append(params, map[string]any{"name": p.name, "in": in, "description": p.doc,
				"schema": map[string]any{"type": p.kind}})
		}
	}
	add("query", rt.params)
	add("header", rt.headers)
	if params != nil {
		op["parameters"] = params
	}
	if rt.body.media != "" {
		op["requestBody"] = map[string]any{"required": true, "content": s.content(&rt.body)}
	}
	op["responses"] = map[string]any{
		strconv.Itoa(rt.status): map[string]any{"description": "Done.", "content": s.content(&rt.answer)},
		"default": map[string]any{"description": "What is wrong (RFC 9457).", "content": map[string]any{
			"application/problem+json": map[string]any{"schema": s.of(reflect.TypeFor[problem]())}}},
	}
	return op
}

func (s schemas) content(c *content) map[string]any {
	schema := map[string]any{"type": "string"}
	if c.like != nil {
		schema = s.of(reflect.TypeOf(c.like))
	}
	all := map[string]any{}
	if c.lines {
		all[ndjson] = map[string]any{"schema": map[string]any{"type": "string",
			"description": "The members of the list, one a line."}}
	}
	if c.list != "" {
		schema = map[string]any{"type": "object", "required": []string{c.list}, "additionalProperties": false,
			"properties": map[string]any{c.list: map[string]any{"type": "array", "items": schema}}}
	}
	all[c.media] = map[string]any{"schema": schema}
	return all
}

// of is the schema of a type, as package json writes its values.
func (s schemas) of(t reflect.Type) map[string]any {
	switch t.Kind() {
	case reflect.Pointer:
		return map[string]any{"anyOf": []any{s.of(t.Elem()), map[string]any{"type": "null"}}}
	case reflect.Struct:
		if _, known := s[t.Name()]; !known {
			s[t.Name()] = nil // it may hold itself
			s[t.Name()] = s.object(t)
		}
		return map[string]any{"$ref": "#/components/schemas/" + t.Name()}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Interface:
		return map[string]any{}
	}
	return map[string]any{"type": "integer"}
}

func (s schemas) object(t reflect.Type) map[string]any {
	properties, required := map[string]any{}, []string{}
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		p := s.of(f.Type)
		if doc := f.Tag.Get("doc"); doc != "" {
			p["description"] = doc
		}
		properties[name] = p
		if !strings.Contains(options, "omitempty") {
			required = append(required, name)
		}
	}
	return map[string]any{"type": "object", "properties": properties, "required": required,
		"additionalProperties": false}
}
