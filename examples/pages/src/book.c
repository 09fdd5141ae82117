/* A small library as there are many: it has one open document for the whole process, and it believes what a document says
   about itself. A document is text: "pages N", a line with N offsets of pages, and the pages. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *text;
static long pages, *offsets;

void book_close(void) {
    free(text);
    free(offsets);
    text = NULL;
    offsets = NULL;
    pages = 0;
}

/* The number of pages, or -1. */
long book_open(const char *path) {
    FILE *file = fopen(path, "rb");
    char *at;
    long length;
    if (!file)
        return -1;
    book_close();
    fseek(file, 0, SEEK_END);
    length = ftell(file);
    rewind(file);
    text = malloc(length + 1);
    length = (long)fread(text, 1, length, file);
    text[length] = 0;
    fclose(file);
    if (sscanf(text, "pages %ld", &pages) != 1 || pages < 0 || pages > 1000) {
        book_close();
        return -1;
    }
    offsets = calloc(pages + 1, sizeof *offsets);
    at = strchr(text, '\n');
    for (long page = 0; page < pages && at; page++)
        offsets[page] = strtol(at, &at, 10);
    return pages;
}

/* The words of a page, up to the next form feed. It does not look whether the offset is in the document. */
long book_words(long page) {
    const char *at = text + offsets[page];
    long words = 0;
    int inside = 0;
    for (; *at && *at != '\f'; at++) {
        words += !isspace((unsigned char)*at) && !inside;
        inside = !isspace((unsigned char)*at);
    }
    return words;
}
