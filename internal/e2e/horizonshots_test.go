//go:build linux

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestHorizonShots does the journey of TestHorizon by clicks in Chromium, and takes a picture of every step. It runs
// where TAPROUTER_SHOTS names a folder for them (make horizon-shots).
func TestHorizonShots(t *testing.T) {
	folder := os.Getenv("TAPROUTER_SHOTS")
	if folder == "" {
		t.Skip("make horizon-shots runs it")
	}
	need(t, "chromedriver")
	d := newDashboard(t)
	f := newForms(d.router, d.base)
	b := &browser{forms: f, driver: d.router.drive(f, 1320, 1043), folder: folder}
	d.check(os.MkdirAll(folder, 0o755))
	d.journey(b)
}

// A browser is a person at the dashboard, clicking. Pages to read only are read by forms, in a session of its own.
type browser struct {
	*forms
	driver *driver
	folder string
}

// in is where forms appear: a dialog, or a page.
const in = `//*[contains(concat(' ', @class, ' '), ' modal-content ')]`

func (b *browser) logIn() {
	b.t.Helper()
	b.forms.logIn()
	b.driver.visit(b.base + "/auth/login/")
	b.driver.enter(`//input[@name='username']`, "admin")
	b.driver.enter(`//input[@name='password']`, "x")
	b.look("log-in")
	b.submit(`//button[@id='loginBtn']`)
}

// open opens a page.
func (b *browser) open(page string) {
	b.t.Helper()
	b.driver.visit(b.base + page)
	b.wellDone()
}

// wellDone waits until the page is there, and fails the test if it complains.
func (b *browser) wellDone() {
	b.t.Helper()
	b.driver.until("the page", `return document.readyState == "complete" && !window.jQuery?.active`)
	wrong, err := b.driver.script(shown + `
		return all("//*[contains(@class,'alert-danger') or contains(@class,'alert-error') or " +
			"contains(@class,'alert-warning')]").filter(seen).map(e => e.innerText.trim()).join("\n")`)
	if err != nil || wrong != "" {
		b.t.Fatalf("the page says %q, %v", wrong, err)
	}
}

// submit clicks what leads to another page, and waits for that.
func (b *browser) submit(path string) {
	b.t.Helper()
	_, err := b.driver.script(`window.before = true`)
	b.check(err)
	b.driver.click(path)
	b.driver.until("the next page", `return !window.before ||
		document.querySelector(".modal-content .alert-danger, .modal-content .has-error")?.innerText`)
	b.wellDone()
}

// reveal opens the menu that an element is in, if it is hidden in one.
func (b *browser) reveal(path string) {
	b.t.Helper()
	b.driver.until(path, shown+`
		const e = all(arguments[0])[0];
		if (!e) return false;
		if (!seen(e)) e.closest(".btn-group").querySelector(".dropdown-toggle").click();
		return seen(e)`, path)
}

// fill follows the link to a form on its page, puts values in, and sends it.
func (b *browser) fill(page, form string, values ...fieldValue) {
	b.t.Helper()
	b.open(page)
	link := fmt.Sprintf(`//a[@href='%s']`, form)
	b.reveal(link)
	b.driver.click(link)
	b.driver.until("the form", shown+`return all(arguments[0]).length > 0`,
		fmt.Sprintf(in+`//*[@name='%s']`, values[0].name))
	for _, v := range values {
		b.turnTo(form, v.name)
		field := fmt.Sprintf(in+`//*[@name='%s']`, v.name)
		kind, _ := b.driver.until(field, shown+`const e = all(arguments[0])[0]; return e && e.type`, field).(string)
		switch kind {
		case "select-one":
			b.choose(v)
		case "checkbox":
			b.driver.click(field + `/following-sibling::label`)
		default:
			b.driver.enter(field, v.value)
		}
	}
	b.look(slug(form))
	// Steps at the end of a form may stay as they are.
	for b.driver.has(in+next) && !b.driver.has(in+`//button[contains(@class, 'button-final')]`) {
		b.driver.click(in + next)
	}
	b.submit(in + `//*[contains(@class, 'footer')]//*[self::button or self::input]` +
		`[contains(@class, 'btn-primary')][not(contains(@class, 'button-next'))]`)
}

// next is the button that leads to the next step of a form.
const next = `//button[contains(@class, 'button-next')]`

var (
	notWords = regexp.MustCompile(`\?.*|[0-9a-f]{8}-[0-9a-f-]{27}`) // a query, the id of an object
	notNames = regexp.MustCompile(`[^a-z]+`)
)

// slug names a picture: what is words in the path of a form.
func slug(form string) string {
	return strings.Trim(notNames.ReplaceAllString(notWords.ReplaceAllString(form, ""), "-"), "-")
}

// turnTo turns to the step of a form that has a field. The step before it has its picture taken.
func (b *browser) turnTo(form, name string) {
	b.t.Helper()
	field := fmt.Sprintf(in+`//*[@name='%s']`, name)
	for steps := 1; ; steps++ {
		where, _ := b.driver.until(field, shown+`
			const e = all(arguments[0])[0];
			const pane = e && e.closest(".tab-pane");
			return e && (!pane || pane.classList.contains("active") ? "here" : "elsewhere")`, field).(string)
		if where == "here" {
			return
		}
		if steps == 10 {
			b.t.Fatalf("%s: no step has the field %s", form, name)
		}
		b.look(slug(form) + "-first")
		b.driver.click(in + next)
	}
}

// choose opens the menu that Horizon has in the place of a select element, and takes an entry.
func (b *browser) choose(v fieldValue) {
	b.t.Helper()
	menu := fmt.Sprintf(in+`//*[contains(@class,'themable-select')][.//select[@name='%s']]`, v.name)
	b.driver.click(menu + `//button[contains(@class,'dropdown-toggle')]`)
	b.driver.click(fmt.Sprintf(menu+`//li/a[contains(., '%s')]`, v.value))
}

// press presses a button of a table's row, and confirms.
func (b *browser) press(page, action, row string) {
	b.t.Helper()
	id := b.id(page, row)
	b.open(page)
	button := fmt.Sprintf(`//button[@name='action' and @value='%s__%s']`, action, id)
	b.reveal(button)
	b.driver.click(button)
	b.look("confirm-" + slug(action))
	b.submit(in + `//*[contains(@class, 'footer')]` +
		`//*[contains(@class, 'btn-primary') or contains(@class, 'btn-danger')]`)
}

func (b *browser) sees(page, row string, texts ...string) {
	b.t.Helper()
	b.open(page)
	b.forms.sees(page, row, texts...)
}

// drawn wants names in the picture, and addresses in what it is drawn from.
func (b *browser) drawn(texts ...string) {
	b.t.Helper()
	b.forms.drawn(texts...)
	b.open(topologyPage)
	b.driver.click(`//*[contains(@class, 'btn')][normalize-space()='Normal']`)
	for _, text := range texts {
		if strings.Contains(text, ".") {
			continue
		}
		b.driver.until(text+" in the picture", `
			return Array.from(document.querySelectorAll("svg text")).some(e => e.textContent.includes(arguments[0]))`, text)
	}
}

// look writes a picture of what the browser shows, when a step is done for the first time.
func (b *browser) look(name string) {
	b.t.Helper()
	file := filepath.Join(b.folder, name+".png")
	if _, err := os.Stat(file); err == nil {
		return
	}
	b.check(os.WriteFile(file, b.driver.picture(), 0o644))
}

const balancersPage = "/project/load_balancer/"

// balance goes through the wizard.
func (b *browser) balance(lb balancer) {
	b.t.Helper()
	d := b.driver
	b.open(balancersPage)
	d.click(`//button[contains(., 'Create Load Balancer')]`)
	subnet := `//filter-select[@ng-model='model.spec.loadbalancer.vip_subnet_id']`
	d.click(subnet + `//button`)
	d.click(subnet + `//tr[contains(., '` + lb.subnet + `')]`)
	d.enter(`//input[@name='name']`, lb.name)
	d.enter(`//input[@name='ip']`, lb.address)
	b.look("wizard-load-balancer")
	b.turn("Listener Details")
	d.enter(`//input[@name='name']`, "web")
	d.option(`//select[@name='protocol']`, "HTTP")
	d.enter(`//input[@name='port']`, "80")
	b.look("wizard-listener")
	b.turn("Pool Details")
	d.enter(`//input[@name='name']`, lb.pool)
	d.option(`//select[@name='method']`, "Round Robin")
	b.look("wizard-pool")
	b.turn("Pool Members")
	for i, name := range lb.instances {
		d.click(`//available//tr[contains(., '` + name + `')]//button`)
		d.enter(fmt.Sprintf(`//input[@name='%d-port']`, i), "80")
	}
	b.look("wizard-members")
	b.turn("Monitor Details")
	d.enter(`//input[@name='name']`, "monitor")
	d.option(`//select[@name='type']`, "HTTP")
	for _, name := range []string{"retry_down", "retry", "timeout", "interval"} {
		d.enter(`//input[@name='`+name+`']`, "1")
	}
	b.look("wizard-monitor")
	d.click(`//button[contains(@class, 'finish')]`)
	d.until("the wizard's end", shown+`return !shown("//wizard")`)
	b.finished(lb)
	b.open(balancersPage)
	d.element(`//tr[contains(., '` + lb.name + `')][contains(., '` + lb.address + `')]`)
	b.look("load-balancer")
}

// turn turns to a step of the wizard.
func (b *browser) turn(step string) {
	b.t.Helper()
	b.driver.click(`//*[@id='wizard-side-nav']//a[contains(., '` + step + `')]`)
	b.driver.element(`//*[@id='wizard-side-nav']//li[contains(@class, 'active')][contains(., '` + step + `')]`)
}

// item takes an entry of the menu of the load balancer's row.
func (b *browser) item(lb balancer, entry string) {
	b.t.Helper()
	b.open(balancersPage)
	row := `//tr[contains(., '` + lb.name + `')]`
	b.driver.click(row + `//button[contains(@class, 'dropdown-toggle')]`)
	b.driver.click(row + `//a[contains(., '` + entry + `')]`)
}

func (b *browser) front(lb balancer, network, address string) {
	b.t.Helper()
	b.item(lb, "Associate Floating IP")
	b.driver.option(`//select[@name='floating-ip']`, network)
	b.look("balancer-associate")
	b.driver.click(in + `//button[contains(@class, 'btn-primary')]`)
	b.driver.until("the dialog's end", shown+`return !shown(arguments[0])`, in)
	b.open(balancersPage)
}

func (b *browser) unbalance(lb balancer) {
	b.t.Helper()
	b.item(lb, "Delete Load Balancer")
	b.look("confirm-balancer-delete")
	b.driver.click(in + `//button[contains(@class, 'btn-danger') or contains(@class, 'btn-primary')]`)
	b.driver.until("the load balancer's end", shown+`return !shown(arguments[0]) && !shown(arguments[1])`, in,
		`//tr[contains(., '`+lb.name+`')]`)
}

// The page in English and the one in Chinese show the same commands, output and pictures, and every picture is there.
func TestHorizonPages(t *testing.T) {
	var first []string
	for _, name := range []string{"README.md", "README.zh.md"} {
		text, err := os.ReadFile(filepath.Join(horizonFolder, name))
		if err != nil {
			t.Fatal(err)
		}
		var shown []string
		for line := range strings.Lines(string(text)) {
			_, picture, is := strings.Cut(line, "](shots/")
			switch {
			case strings.HasPrefix(line, "    "):
				shown = append(shown, line)
			case is:
				picture, _, _ = strings.Cut(picture, ")")
				shown = append(shown, picture)
				if _, err := os.Stat(filepath.Join(horizonFolder, "shots", picture)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		if first == nil {
			first = shown
		}
		for i := range max(len(first), len(shown)) {
			if i >= len(first) || i >= len(shown) || first[i] != shown[i] {
				t.Fatalf("%s differs from README.md at its %d. command, line of output or picture", name, i+1)
			}
		}
		if len(shown) < 100 {
			t.Errorf("%s shows only %d", name, len(shown))
		}
	}
}
