package wire

// An ID names an object of a State. The packages below router hold it, but never look inside.
type ID string
