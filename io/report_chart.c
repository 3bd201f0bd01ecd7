/* Draws one line chart as SVG. Colours are CSS variables of the page. */
#include "io/report_chart.h"

#include <math.h>
#include <string.h>

#include "io/report_series.h"

/* In units of the view box: the plot and the room for tick labels around it. */
#define WIDTH 560.0
#define HEIGHT 250.0
#define LEFT 62.0
#define RIGHT 14.0
#define TOP 22.0
#define BOTTOM 40.0
#define MAX_POINTS                                                                                 \
    400              /* drawn of a curve; more are merged to the least and the most of a stretch */
#define MAX_MARKS 60 /* curves of fewer points get a mark for each */

struct axis {
    double least, most, tick; /* ticks at multiples of `tick` */
};

struct frame {
    FILE *f;
    struct axis x, y;
};

void plumb_html_text(FILE *f, const char *text)
{
    for (; *text; text++) {
        const unsigned char c = (unsigned char)*text;
        if (c == '&')
            fputs("&amp;", f);
        else if (c == '<')
            fputs("&lt;", f);
        else if (c == '>')
            fputs("&gt;", f);
        else if (c == '"')
            fputs("&quot;", f);
        else if (c == '\'')
            fputs("&#39;", f);
        else if (c < 0x20 && c != '\n' && c != '\t')
            fputs("\xef\xbf\xbd", f);
        else
            fputc(c, f);
    }
}

void plumb_html_number(char *out, size_t n, double x)
{
    static const struct {
        double from, unit;
        const char *suffix;
    } scale[] = { { 1e9, 1e9, "G" }, { 1e6, 1e6, "M" }, { 1e4, 1e3, "k" }, { 0, 1, "" } };
    int i = 0;
    while (fabs(x) < scale[i].from)
        i++;
    if (!isfinite(x))
        snprintf(out, n, "not a number");
    else
        snprintf(out, n, "%.4g%s", x / scale[i].unit, scale[i].suffix);
}

/* The largest of 1, 2, 5 times a power of ten that gives at least `count` ticks. */
static double nice_tick(double range, int count)
{
    const double rough = range / count, power = pow(10, floor(log10(rough)));
    const double m = rough / power;
    return power * (m >= 5 ? 5 : m >= 2 ? 2 : 1);
}

/* A flat curve gets some room, so that it lies in the middle. */
static struct axis make_axis(double least, double most, int count, bool pad)
{
    if (!(least <= most)) least = 0, most = 1;
    double range = most - least;
    if (range <= 1e-12 * fmax(fabs(least), fabs(most)) || range == 0) {
        range = most != 0 ? 0.2 * fabs(most) : 1;
        least -= range / 2;
        most += range / 2;
    } else if (pad) {
        least -= 0.04 * range;
        most += 0.04 * range;
    }
    return (struct axis){ least, most, nice_tick(most - least, count) };
}

static double place_x(const struct frame *p, double step)
{
    return LEFT + (step - p->x.least) / (p->x.most - p->x.least) * (WIDTH - LEFT - RIGHT);
}

static double place_y(const struct frame *p, double value)
{
    return HEIGHT - BOTTOM -
           (value - p->y.least) / (p->y.most - p->y.least) * (HEIGHT - TOP - BOTTOM);
}

/* Numbers whose differences stay finite; others are gaps. */
static bool drawable(double v) { return fabs(v) <= 1e300; }

static struct frame frame_of(FILE *f, const struct plumb_chart *c)
{
    double x[2] = { INFINITY, -INFINITY }, y[2] = { INFINITY, -INFINITY };
    for (int k = 0; k < c->n; k++) {
        const struct plumb_series *s = c->series[k];
        for (int64_t i = 0; i < s->n; i++) {
            x[0] = fmin(x[0], s->step[i]);
            x[1] = fmax(x[1], s->step[i]);
            if (!drawable(s->value[i])) continue;
            y[0] = fmin(y[0], s->value[i]);
            y[1] = fmax(y[1], s->value[i]);
        }
    }
    return (struct frame){ f, make_axis(x[0], x[1], 5, false), make_axis(y[0], y[1], 4, true) };
}

static void put_grid(const struct frame *p, const struct plumb_chart *c)
{
    char label[32];
    for (int i = 0; i < 20; i++) {
        const double v = (ceil(p->y.least / p->y.tick) + i) * p->y.tick;
        if (v > p->y.most) break;
        plumb_html_number(label, sizeof label, fabs(v) < 1e-9 * p->y.tick ? 0 : v);
        fprintf(p->f,
                "<line class=\"grid\" x1=\"%g\" x2=\"%g\" y1=\"%.2f\" y2=\"%.2f\"/>"
                "<text class=\"tick\" x=\"%g\" y=\"%.2f\" text-anchor=\"end\">%s</text>\n",
                LEFT, WIDTH - RIGHT, place_y(p, v), place_y(p, v), LEFT - 7, place_y(p, v) + 4,
                label);
    }
    for (int i = 0; i < 20; i++) {
        const double v = (ceil(p->x.least / p->x.tick) + i) * p->x.tick;
        if (v > p->x.most) break;
        plumb_html_number(label, sizeof label, v);
        fprintf(p->f, "<text class=\"tick\" x=\"%.2f\" y=\"%g\" text-anchor=\"middle\">%s</text>\n",
                place_x(p, v), HEIGHT - BOTTOM + 16, label);
    }
    fprintf(p->f, "<line class=\"axis\" x1=\"%g\" x2=\"%g\" y1=\"%g\" y2=\"%g\"/>\n", LEFT,
            WIDTH - RIGHT, HEIGHT - BOTTOM, HEIGHT - BOTTOM);
    fprintf(p->f, "<text class=\"label\" x=\"%g\" y=\"%g\" text-anchor=\"middle\">step</text>\n",
            (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6);
    if (*c->unit)
        fprintf(p->f, "<text class=\"label\" x=\"%g\" y=\"12\" text-anchor=\"end\">%s</text>\n",
                LEFT - 7, c->unit);
}

static bool is_eval(const struct plumb_series *s) { return strncmp(s->name, "eval_", 5) == 0; }

/* Goes on with the path; a gap (no number) lifts the pen. */
static void put_point(const struct frame *p, const struct plumb_series *s, int64_t i, bool *down)
{
    if (!drawable(s->value[i])) {
        *down = false;
        return;
    }
    fprintf(p->f, "%c%.2f %.2f", *down ? 'L' : 'M', place_x(p, s->step[i]),
            place_y(p, s->value[i]));
    *down = true;
}

/* Of points [from, to): the places of the least and the most, in order, or of a gap if there is
 * one. */
static void extremes(const struct plumb_series *s, int64_t from, int64_t to, int64_t place[2])
{
    int64_t least = from, most = from;
    for (int64_t i = from; i < to; i++) {
        if (!drawable(s->value[i])) least = most = i;
        if (s->value[i] < s->value[least]) least = i;
        if (s->value[i] > s->value[most]) most = i;
    }
    place[0] = least < most ? least : most;
    place[1] = least < most ? most : least;
}

static void put_curve(const struct frame *p, const struct plumb_series *s, int colour)
{
    bool down = false;
    fprintf(p->f, "<path class=\"curve%s\" stroke=\"var(--c%d)\" d=\"", is_eval(s) ? " eval" : "",
            colour);
    if (s->n <= MAX_POINTS) {
        for (int64_t i = 0; i < s->n; i++)
            put_point(p, s, i, &down);
    } else {
        for (int64_t k = 0; k < MAX_POINTS / 2; k++) {
            int64_t place[2];
            extremes(s, s->n * 2 * k / MAX_POINTS, s->n * 2 * (k + 1) / MAX_POINTS, place);
            put_point(p, s, place[0], &down);
            if (place[1] != place[0]) put_point(p, s, place[1], &down);
        }
    }
    fputs("\"/>\n", p->f);
}

/* Marks carry their values as tooltips. */
static void put_marks(const struct frame *p, const struct plumb_series *s, int colour)
{
    char number[32];
    if (s->n > MAX_MARKS) return;
    for (int64_t i = 0; i < s->n; i++) {
        if (!drawable(s->value[i])) continue;
        plumb_html_number(number, sizeof number, s->value[i]);
        fprintf(
            p->f,
            "<circle class=\"mark\" fill=\"var(--c%d)\" cx=\"%.2f\" cy=\"%.2f\" r=\"2.4\"><title>",
            colour, place_x(p, s->step[i]), place_y(p, s->value[i]));
        plumb_html_text(p->f, s->name);
        fprintf(p->f, ": %s at step %.0f</title></circle>\n", number, s->step[i]);
    }
}

static double last_value(const struct plumb_series *s)
{
    for (int64_t i = s->n; i-- > 0;)
        if (drawable(s->value[i])) return s->value[i];
    return NAN;
}

void plumb_html_chart(FILE *f, const struct plumb_chart *c)
{
    const struct frame p = frame_of(f, c);
    char number[32];
    fputs("<figure class=\"card\"><figcaption><b>", f);
    plumb_html_text(f, c->title);
    fputs("</b><span class=\"legend\">", f);
    for (int k = 0; k < c->n; k++) {
        plumb_html_number(number, sizeof number, last_value(c->series[k]));
        fprintf(f, "<span><i class=\"%s\" style=\"border-color:var(--c%d)\"></i>",
                is_eval(c->series[k]) ? "eval" : "", k);
        plumb_html_text(f, strcmp(c->series[k]->name, c->title) == 0 && c->n == 1
                               ? "last"
                               : c->series[k]->name);
        fprintf(f, " <em>%s</em></span>", number);
    }
    fprintf(f, "</span></figcaption>\n<svg viewBox=\"0 0 %g %g\" role=\"img\" aria-label=\"", WIDTH,
            HEIGHT);
    plumb_html_text(f, c->title);
    fputs(" over steps\">\n", f);
    put_grid(&p, c);
    for (int k = 0; k < c->n; k++)
        put_curve(&p, c->series[k], k);
    for (int k = 0; k < c->n; k++)
        put_marks(&p, c->series[k], k);
    fputs("</svg></figure>\n", f);
}
