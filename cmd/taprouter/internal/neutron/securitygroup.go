package neutron

import (
	"iter"
	"net/http"
	"slices"

	"github.com/taprouter/taprouter/config"
)

// defaultName is the name of the project's default group, which new ports are in.
const defaultName = "default"

// defaultGroupID is the id of the default group. The group is in the State as soon as something needs it there; until
// then answers show it all the same.
var defaultGroupID = config.NameID(config.KindSecurityGroup, defaultName)

var securityGroups = resource[*config.SecurityGroup]{
	singular: "security_group", plural: "security_groups", path: "security-groups", title: "Security Group",
	attributes: groupAttributes,
	all: func(s *config.State) iter.Seq[*config.SecurityGroup] {
		return func(yield func(*config.SecurityGroup) bool) {
			if s.SecurityGroup(defaultGroupID) == nil && !yield(defaultGroup()) {
				return
			}
			for g := range s.SecurityGroups() {
				if !yield(g) {
					return
				}
			}
		}
	},
	get:     findGroup,
	prepare: prepareDefault,
	fresh:   func(m config.Meta) *config.SecurityGroup { return &config.SecurityGroup{Meta: m, Stateful: true} },
	copied:  copied[config.SecurityGroup],
	create:  createGroup,
	update:  updateGroup,
	remove:  removeGroup,
}

func groupAttributes(project string) []attribute[*config.SecurityGroup] {
	type group = *config.SecurityGroup
	rules := ruleAttributes(project)
	return append(common[group](project),
		named[group](),
		field("stateful", flag, always, "stateful", func(g group) *bool { return &g.Stateful }),
		constant[group]("shared", flag, false),
		shown("security_group_rules", anything, func(r reader, g group) any {
			list := []any{}
			for rule := range rulesOf(r, g.ID) {
				list = append(list, renderAll(rules, r, rule))
			}
			return list
		}))
}

// defaultGroup is the default group as it is before anything has changed in it, with the revision 0.
func defaultGroup() *config.SecurityGroup {
	return &config.SecurityGroup{Meta: config.Meta{ID: defaultGroupID, Name: defaultName,
		Description: "Default security group"}, Stateful: true}
}

// defaultRules are the rules of the default group: everything may go out, and the group's ports reach each other.
func defaultRules() []*config.SecurityGroupRule {
	var list []*config.SecurityGroupRule
	for _, direction := range []string{config.Egress, config.Ingress} {
		for _, family := range []string{config.IPv4, config.IPv6} {
			r := &config.SecurityGroupRule{Meta: config.Meta{
				ID: config.NameID(config.KindSecurityGroupRule, defaultName, direction, family)},
				Group: defaultGroupID, Direction: direction, EtherType: family}
			if direction == config.Ingress {
				r.RemoteGroup = defaultGroupID
			}
			list = append(list, r)
		}
	}
	return list
}

func findGroup(r reader, id config.ID) (*config.SecurityGroup, bool) {
	if g := r.SecurityGroup(id); g != nil {
		return g, true
	}
	return defaultGroup(), id == defaultGroupID
}

// rulesOf gives the rules of a group.
func rulesOf(r reader, group config.ID) iter.Seq[*config.SecurityGroupRule] {
	if group == defaultGroupID && r.SecurityGroup(group) == nil {
		return slices.Values(defaultRules())
	}
	return r.RulesOf(group)
}

// needDefault puts the default group into the Draft if it is not there yet. It counts for no quota.
func needDefault(e *edit) {
	if e.SecurityGroup(defaultGroupID) != nil {
		return
	}
	by := config.Source{Request: e.request.id}
	g := defaultGroup()
	g.Source = by
	e.Put(g)
	for _, r := range defaultRules() {
		r.Source = by
		e.Put(r)
	}
	e.free = map[string]int{"security_group": 1, "security_group_rule": len(defaultRules())}
}

// prepareDefault puts the default group into the Draft if a request is about the group or one of its rules.
func prepareDefault(e *edit, id config.ID) {
	if id == defaultGroupID || slices.ContainsFunc(defaultRules(),
		func(r *config.SecurityGroupRule) bool { return r.ID == id }) {
		needDefault(e)
	}
}

func createGroup(e *edit, g *config.SecurityGroup, _ map[string]any) error {
	if g.Name == defaultName {
		return conflict("SecurityGroupDefaultAlreadyExists", "Default security group already exists.")
	}
	e.Put(g)
	for _, family := range []string{config.IPv4, config.IPv6} {
		e.Put(&config.SecurityGroupRule{Meta: e.meta(), Group: g.ID, Direction: config.Egress, EtherType: family})
	}
	return nil
}

func updateGroup(e *edit, was, g *config.SecurityGroup, _ map[string]any) error {
	switch {
	case was.ID == defaultGroupID && g.Name != was.Name:
		return conflict("SecurityGroupCannotUpdateDefault", "Updating default security group not allowed.")
	case was.Name != defaultName && g.Name == defaultName:
		return conflict("SecurityGroupDefaultAlreadyExists", "Default security group already exists.")
	case was.Stateful != g.Stateful && groupHasPorts(e, g.ID):
		return groupInUse(g)
	}
	e.Put(g)
	return nil
}

func groupHasPorts(e *edit, id config.ID) bool {
	for range e.PortsInGroup(id) {
		return true
	}
	for range e.LoadBalancersInGroup(id) {
		return true
	}
	return false
}

func groupInUse(g *config.SecurityGroup) error {
	return conflict("SecurityGroupInUse", "Security Group %s in use.", g.ID)
}

// removeGroup takes a group away with its rules.
func removeGroup(e *edit, g *config.SecurityGroup) error {
	if g.ID == defaultGroupID {
		return conflict("SecurityGroupCannotRemoveDefault", "Insufficient rights for removing default security group.")
	}
	if groupHasPorts(e, g.ID) {
		return groupInUse(g)
	}
	for r := range e.RulesFrom(g.ID) {
		if r.Group != g.ID {
			return groupInUse(g)
		}
	}
	for r := range e.RulesOf(g.ID) {
		if err := e.own(r, ""); err != nil {
			return err
		}
	}
	e.Delete(g.Ref())
	return nil
}

// groupList reads the groups of a port.
var groupList = listOf[config.ID](identifier)

func groupsText(ids []config.ID) []string {
	list := []string{}
	for _, id := range ids {
		list = append(list, string(id))
	}
	return list
}

// chooseGroups checks that there are the groups that a body names, and returns them.
func chooseGroups(e *edit, ids []config.ID) ([]config.ID, error) {
	var list []config.ID
	for _, id := range ids {
		if id == defaultGroupID {
			needDefault(e)
		}
		if e.SecurityGroup(id) == nil {
			return nil, failure(http.StatusNotFound, "SecurityGroupNotFound", "Security group %s does not exist", id)
		}
		if !slices.Contains(list, id) {
			list = append(list, id)
		}
	}
	return list, nil
}
