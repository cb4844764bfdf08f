package identity

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/taprouter/taprouter/cmd/taprouter/internal/serve"
)

// nameMost is the longest name of a user, in characters, as in Keystone.
const nameMost = 255

// A named is an object of Keystone's, by one of the two.
type named struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// A login is the body of a request for a token. What has no meaning here is not read.
type login struct {
	Auth *struct {
		Identity struct {
			Methods  []string `json:"methods"`
			Password *struct {
				User struct {
					named
					Password string `json:"password"`
				} `json:"user"`
			} `json:"password"`
			Token *struct {
				ID string `json:"id"`
			} `json:"token"`
			ApplicationCredential *struct {
				named
				Secret string `json:"secret"`
				User   named  `json:"user"`
			} `json:"application_credential"`
		} `json:"identity"`
		Scope json.RawMessage `json:"scope"`
	} `json:"auth"`
}

// A refusal says why a login is refused.
type refusal struct {
	status  int
	message string
}

// Error implements error.
func (r *refusal) Error() string { return r.message }

func malformed(format string, args ...any) error {
	return &refusal{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

func unauthorized(format string, args ...any) error {
	return &refusal{http.StatusUnauthorized, fmt.Sprintf(format, args...)}
}

// login answers with a new token.
func (a *API) login(w http.ResponseWriter, r *http.Request) {
	t, err := a.judge(r.Body)
	if why, ok := errors.AsType[*refusal](err); ok {
		serve.Fail(w, r, why.status, why.message)
		return
	}
	var text string
	if err == nil {
		text, err = a.text(t)
	}
	if err != nil {
		serve.Fail(w, r, http.StatusInternalServerError, err.Error())
		return
	}
	serve.Note(r.Context(), "user", t.User)
	w.Header().Set("X-Subject-Token", text)
	serve.Answer(w, r, http.StatusCreated, a.body(r, t, text))
}

// judge reads a login, and makes the token that it gets.
func (a *API) judge(body io.Reader) (*token, error) {
	var l login
	d := json.NewDecoder(body)
	if err := d.Decode(&l); err != nil {
		return nil, malformed("The body is no login: %v.", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, malformed("There is something behind the login.")
	}
	if l.Auth == nil {
		return nil, malformed("'auth' is a required property.")
	}
	if len(l.Auth.Identity.Methods) == 0 {
		return nil, malformed("'methods' is a required property: name one.")
	}
	user, err := a.prove(&l)
	if err != nil {
		return nil, err
	}
	s, err := a.scopeOf(l.Auth.Scope)
	if err != nil {
		return nil, err
	}
	now := a.opt.Now()
	return &token{User: user, Methods: slices.Compact(l.Auth.Identity.Methods), Scope: s, Issued: now.Unix(),
		Expires: now.Add(lifetime).Unix()}, nil
}

// wrong is the answer to a name and a password that do not go together.
const wrong = "The request you have made requires authentication. If the router has a token, it is the password."

// prove checks each method of a login, and returns the user's name.
func (a *API) prove(l *login) (string, error) {
	user := ""
	id := &l.Auth.Identity
	if len(id.Methods) > 3 {
		return "", malformed("There are too many methods.")
	}
	for _, method := range id.Methods {
		switch {
		case method == "password" && id.Password != nil:
			u := &id.Password.User
			if !a.opt.Password(u.Password) {
				return "", unauthorized(wrong)
			}
			user = called(u.named)
		case method == "application_credential" && id.ApplicationCredential != nil:
			c := id.ApplicationCredential
			if !a.opt.Password(c.Secret) {
				return "", unauthorized(wrong)
			}
			user = called(c.User)
		case method == "token" && id.Token != nil:
			t, ok := a.read(id.Token.ID)
			if !ok {
				return "", unauthorized("This token is not one of this process, or is too old: log in again.")
			}
			user = t.User
		case slices.Contains([]string{"password", "application_credential", "token"}, method):
			return "", malformed("'%s' is a required property.", method)
		default:
			return "", unauthorized("Attempted to authenticate with an unsupported method.")
		}
	}
	if utf8.RuneCountInString(user) > nameMost {
		return "", malformed("The name of the user has more than %d characters.", nameMost)
	}
	return user, nil
}

// called is the name of a user. There is one user, whose id may be given as well; its name is what the client says.
func called(u named) string {
	if u.Name == "" {
		return roleName
	}
	return u.Name
}

// scopeOf reads what a token is to be for. Without a scope it is the project.
func (a *API) scopeOf(raw json.RawMessage) (scope, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return projectScope, nil
	}
	var word string
	if json.Unmarshal(raw, &word) == nil {
		if word == string(noScope) {
			return noScope, nil
		}
		return "", malformed("'%s' is no scope.", word)
	}
	var s struct {
		Project  *named           `json:"project"`
		Domain   *named           `json:"domain"`
		System   *json.RawMessage `json:"system"`
		Unscoped *json.RawMessage `json:"unscoped"`
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", malformed("The scope cannot be read: %v.", err)
	}
	switch {
	case s.Project != nil:
		if s.Project.ID != a.opt.Project && (s.Project.ID != "" || s.Project.Name != ProjectName) {
			return "", unauthorized("There is one project here, %s (%s); %q is not it.", ProjectName, a.opt.Project,
				s.Project.ID+s.Project.Name)
		}
		return projectScope, nil
	case s.Domain != nil:
		if s.Domain.ID != domainID && (s.Domain.ID != "" || s.Domain.Name != domainName) {
			return "", unauthorized("There is one domain here, %s (%s); %q is not it.", domainName, domainID,
				s.Domain.ID+s.Domain.Name)
		}
		return domainScope, nil
	case s.System != nil:
		return systemScope, nil
	case s.Unscoped != nil:
		return noScope, nil
	}
	return "", malformed("The scope has none of 'project', 'domain', 'system' and 'unscoped'.")
}

// showToken answers with what a token says.
func (a *API) showToken(w http.ResponseWriter, r *http.Request) {
	text := r.Header.Get("X-Subject-Token")
	t, ok := a.read(text)
	if !ok {
		serve.Fail(w, r, http.StatusNotFound, "Could not find the token of X-Subject-Token.")
		return
	}
	w.Header().Set("X-Subject-Token", text)
	answer(w, r, a.body(r, t, text))
}

// timeForm is how Keystone writes times.
const timeForm = "2006-01-02T15:04:05.000000Z"

// body is a token as Keystone shows it.
func (a *API) body(r *http.Request, t *token, text string) object {
	sum := sha256.Sum256([]byte(text)) // an id of the token that does not give it away
	shown := object{"methods": t.Methods, "audit_ids": []any{base64.RawURLEncoding.EncodeToString(sum[:16])},
		"issued_at":  time.Unix(t.Issued, 0).UTC().Format(timeForm),
		"expires_at": time.Unix(t.Expires, 0).UTC().Format(timeForm),
		"user":       object{"id": userID, "name": t.User, "domain": domain(), "password_expires_at": nil}}
	switch t.Scope {
	case projectScope:
		shown["project"] = object{"id": a.opt.Project, "name": ProjectName, "domain": domain()}
		shown["is_domain"] = false
	case domainScope:
		shown["domain"] = domain()
	case systemScope:
		shown["system"] = object{"all": true}
	}
	if t.Scope != noScope {
		shown["roles"] = []any{object{"id": roleID, "name": roleName}}
		shown["catalog"] = a.catalog(r)
	}
	return object{"token": shown}
}
