/** A name of the web's that the declarations of structured-headers use; neither ES2024 nor Node's types have it. */
type BufferSource = ArrayBufferView<ArrayBuffer> | ArrayBuffer;
