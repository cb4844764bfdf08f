package wire

// An ID names an object of a State. The packages below router hold IDs and compare them, and never look inside one.
type ID string
